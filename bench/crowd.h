/*
 * crowd.h - what the threads do that are only there to be many
 */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

/* Idle: asleep until the end. Busy: every sixteenth computes without pause, the others are in and out of a system call. */
static void *stand(void *busy)
{
	static _Atomic unsigned serial;
	volatile uint64_t sum = 0;

	if (!busy)
		for (;;)
			pause();
	if (serial++ % 16 == 0)
		for (;;)
			sum = sum + 1;
	for (;;)
		poll(NULL, 0, 10);
	return NULL;
}

static int start_threads(unsigned count, int busy)
{
	pthread_attr_t small;
	pthread_t thread;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 128 << 10);
	while (count--)
		if (pthread_create(&thread, &small, stand, busy ? &small : NULL))
			return -1;
	return 0;
}
