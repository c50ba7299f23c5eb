/*
 * ids.c - the C library's setuid() and the like, for all threads, where Node does not let process.setuid() (CVE-2024-22017)
 *
 * Plain N-API; compiled by the test that uses it. Each takes an id and returns 0, or errno.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <node_api.h>
#include <stdint.h>
#include <unistd.h>

static int set_group_alone(uint32_t group)
{
	return setgroups(1, &group);
}

static napi_value set(napi_env env, napi_callback_info info)
{
	int (*call)(uint32_t);
	size_t count = 1;
	napi_value argument, result;
	uint32_t id;

	if (napi_get_cb_info(env, info, &count, &argument, NULL, (void **)&call) ||
	    napi_get_value_uint32(env, argument, &id))
		return NULL;
	napi_create_int32(env, call(id) ? errno : 0, &result);
	return result;
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		int (*call)(uint32_t);
	} all[] = {
		{"setuid", setuid},   {"seteuid", seteuid},	   {"setgid", setgid},
		{"setegid", setegid}, {"setgroups", set_group_alone},
	};

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		napi_value function;
		napi_create_function(env, all[i].name, NAPI_AUTO_LENGTH, set, (void *)all[i].call, &function);
		napi_set_named_property(env, exports, all[i].name, function);
	}
	return exports;
}
