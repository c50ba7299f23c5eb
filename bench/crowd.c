/*
 * crowd.c - an addon: (count, busy) => starts threads that Node does not know, in a Node process
 */
#define _GNU_SOURCE
#include "crowd.h"

#include <node_api.h>

static napi_value crowd(napi_env env, napi_callback_info info)
{
	size_t given = 2;
	napi_value arguments[2];
	uint32_t count;
	bool busy;

	napi_get_cb_info(env, info, &given, arguments, NULL, NULL);
	napi_get_value_uint32(env, arguments[0], &count);
	napi_get_value_bool(env, arguments[1], &busy);
	if (start_threads(count, busy))
		napi_throw_error(env, NULL, "so many threads cannot be made");
	return NULL;
}

NAPI_MODULE_INIT()
{
	napi_create_function(env, "crowd", NAPI_AUTO_LENGTH, crowd, NULL, &exports);
	return exports;
}
