/*
 * psx.c - an addon: () => the seven changes by libpsx, without the bounding set; throws when libpsx says that one failed
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
	(void)info;
	(void)bounding_to_drop;
	if (change(by_psx, 0))
		napi_throw_error(env, NULL, "libpsx has refused");
	return NULL;
}

NAPI_MODULE_INIT()
{
	napi_create_function(env, "psx", NAPI_AUTO_LENGTH, psx, NULL, &exports);
	return exports;
}
