/*
 * clone.c - an addon: () => microseconds from an empty clone(2) of the process until that has ended: the floor of a
 * rehearsal
 */
#define _GNU_SOURCE
#include <node_api.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static napi_value clone_once(napi_env env, napi_callback_info info)
{
	double start = microseconds();
	long child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
	napi_value taken;

	(void)info;
	if (child == 0)
		syscall(SYS_exit_group, 0);
	if (child < 0 || waitpid(child, NULL, __WALL) != child)
		napi_throw_error(env, NULL, "the process cannot be copied");
	napi_create_double(env, microseconds() - start, &taken);
	return taken;
}

NAPI_MODULE_INIT()
{
	napi_create_function(env, "clone", NAPI_AUTO_LENGTH, clone_once, NULL, &exports);
	return exports;
}
