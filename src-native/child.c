/*
 * child.c - the wait for the rehearsing child
 *
 * The child holds the other end of a pipe, so that end of file tells that it has ended. Another thread may fork
 * meanwhile, and that process holds the end as well: so the wait is made of slices that also ask the kernel. Not even
 * SIGKILL ends a child that a dead file system holds: the wait is bounded, and the next call reaps what is left.
 */
#define _GNU_SOURCE
#include "shared.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

enum { REHEARSE_MS = 10000, KILLED_MS = 1000, SLICE_MS = 2, LEFT_MAX = 64 };

/* Children of any thread that have not ended in time. */
static _Atomic pid_t left[LEFT_MAX];

static void leave(pid_t child)
{
	for (size_t i = 0; i < LEFT_MAX; i++) {
		pid_t none = 0;

		if (atomic_compare_exchange_strong(&left[i], &none, child))
			return;
	}
}

static void reap_left(void)
{
	int status;

	for (size_t i = 0; i < LEFT_MAX; i++) {
		pid_t child = atomic_load(&left[i]);

		if (child && wait_for(child, &status, WNOHANG))
			atomic_compare_exchange_strong(&left[i], &child, 0);
	}
}

/* 0: the child has not ended in this time. Else the result of waitpid(2). If this process is stopped meanwhile, it
 * loses a slice, not all of the time. */
static pid_t wait_in_slices(pid_t child, int end_of_child, int *status, int milliseconds)
{
	const struct timespec slice = {.tv_nsec = SLICE_MS * 1000000L};
	struct pollfd end = {.fd = end_of_child, .events = POLLIN};
	pid_t ended;

	for (int waited = 0; (ended = wait_for(child, status, WNOHANG)) == 0 && waited < milliseconds; waited += SLICE_MS)
		switch (poll(&end, 1, SLICE_MS)) {
		case 1:
			end.fd = -1; /* it is ending, and closes the rest first */
			waited -= SLICE_MS;
			break;
		case -1:
			nanosleep(&slice, NULL); /* a filter refuses the call, or there was a signal */
			break;
		}
	return ended;
}

int await_child(pid_t child, int end_of_child, struct failure *why)
{
	bool killed = false;
	pid_t ended;
	int status;

	reap_left();
	if ((ended = wait_in_slices(child, end_of_child, &status, REHEARSE_MS)) == 0) {
		killed = true;
		kill(child, SIGKILL);
		ended = wait_in_slices(child, -1, &status, KILLED_MS);
	}
	if (ended == 0)
		leave(child);
	if (ended < 0) {
		why->error = errno;
		return -1;
	}
	if (killed && (ended == 0 || WIFSIGNALED(status))) {
		why->error = ETIMEDOUT;
		return -1;
	}
	if (!WIFSIGNALED(status))
		return 0;
	why->signo = WTERMSIG(status);
	return -1;
}

void end_helper(pid_t helper)
{
	int status;

	if (helper <= 0 || wait_for(helper, &status, WNOHANG))
		return;
	kill(helper, SIGKILL);
	if (wait_in_slices(helper, -1, &status, KILLED_MS) == 0)
		leave(helper);
}
