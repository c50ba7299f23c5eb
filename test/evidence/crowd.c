/*
 * crowd.c - a thousand threads at once that Node does not know, and one that measures how long it stood still
 *
 * Plain N-API, to be loaded beside test/children/threads.c. None of the threads ever ends: one that a signal has got out
 * of its system call shows by being gone.
 */
#define _GNU_SOURCE
#include <node_api.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { CROWD = 1000 };

static sem_t begun, never;
static int silent[2]; /* a pipe into which nobody writes */

/* The kindest to the rest of the machine, and to the thread that has to stop it: there are a thousand. */
static void *computing(void *unused)
{
	setpriority(PRIO_PROCESS, gettid(), 19);
	sem_post(&begun);
	for (volatile unsigned rounds = 0;; rounds++)
		;
	return unused;
}

/* The first two are begun again by the kernel after a signal, the others never are (signal(7)). */
static void *calling(void *number)
{
	char byte;

	sem_post(&begun);
	switch ((uintptr_t)number % 4) {
	case 0:
		return (void *)(intptr_t)read(silent[0], &byte, 1);
	case 1:
		return (void *)(intptr_t)sem_wait(&never);
	case 2:
		for (;;)
			poll(NULL, 0, -1);
	default:
		for (;;)
			pause();
	}
}

static napi_value start_crowd(napi_env env, napi_callback_info info)
{
	void *(*kind)(void *);
	napi_value result;
	uintptr_t number;
	pthread_t thread;

	napi_get_cb_info(env, info, NULL, NULL, NULL, (void **)&kind);
	for (number = 0; number < CROWD && !pthread_create(&thread, NULL, kind, (void *)number); number++)
		pthread_detach(thread);
	for (uintptr_t waited = 0; waited < number; waited++)
		while (sem_wait(&begun))
			;
	napi_create_uint32(env, (uint32_t)number, &result);
	return result;
}

static _Atomic int64_t longest_us;

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void *heart(void *unused)
{
	const struct timespec beat = {.tv_nsec = 200000};

	for (int64_t then = now_us(), now;; then = now) {
		nanosleep(&beat, NULL);
		now = now_us();
		if (now - then > atomic_load(&longest_us))
			atomic_store(&longest_us, now - then);
	}
	return unused;
}

static napi_value start_heart(napi_env env, napi_callback_info info)
{
	pthread_t thread;

	(void)env;
	(void)info;
	if (!pthread_create(&thread, NULL, heart, NULL))
		pthread_detach(thread);
	return NULL;
}

/* The longest time from one beat to the next since it was last asked, in microseconds. */
static napi_value longest(napi_env env, napi_callback_info info)
{
	napi_value result;

	(void)info;
	napi_create_int64(env, atomic_exchange(&longest_us, 0), &result);
	return result;
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback call;
		void *(*kind)(void *);
	} all[] = {
		{"startComputing", start_crowd, computing},
		{"startCalling", start_crowd, calling},
		{"startHeart", start_heart, NULL},
		{"longest", longest, NULL},
	};

	if (sem_init(&begun, 0, 0) || sem_init(&never, 0, 0) || pipe(silent))
		return NULL;
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		napi_value function;
		napi_create_function(env, all[i].name, NAPI_AUTO_LENGTH, all[i].call, (void *)all[i].kind, &function);
		napi_set_named_property(env, exports, all[i].name, function);
	}
	return exports;
}
