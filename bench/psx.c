/*
 * psx.c - an addon: (all) => the changes by libpsx, with those of the bounding set if `all`; throws if libpsx reports a
 * failure
 */
#define _GNU_SOURCE
#include "changes.h"

#include <node_api.h>
#include <sys/psx_syscall.h>

static long by_psx(long number, long a, long b, long c, long d, long e, long f)
{
	return psx_syscall6(number, a, b, c, d, e, f);
}

static napi_value psx(napi_env env, napi_callback_info info)
{
	size_t given = 1;
	napi_value argument;
	bool all;

	napi_get_cb_info(env, info, &given, &argument, NULL, NULL);
	napi_get_value_bool(env, argument, &all);
	if (change(by_psx, all ? bounding_to_drop() : 0))
		napi_throw_error(env, NULL, "libpsx has refused");
	return NULL;
}

NAPI_MODULE_INIT()
{
	napi_create_function(env, "psx", NAPI_AUTO_LENGTH, psx, NULL, &exports);
	return exports;
}
