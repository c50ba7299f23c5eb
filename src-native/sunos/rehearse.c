/*
 * rehearse.c - the list, tried out in a child that is thrown away
 *
 * Whatever the kernel would refuse in the commit it refuses here first: a zone's limits, the limit set, auditing. The child
 * is one of forkx(2): the calling thread alone, without a SIGCHLD, and found by no wait but that for its own pid. It stores the number of each step before it takes it in memory that both
 * share, so that a death by signal has a place too, and leaves there what it has become.
 */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fork.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONGEST_MS = 10000 };

/* What the child leaves behind; then its state. */
struct stage {
	struct failure now; /* its step under way */
	bool jailed;
	struct state state;
};

/* Returns when it is through, or at the step that has failed, with errno. */
static void rehearse_here(const struct plan *plan, struct stage *stage, size_t size)
{
	priv_set_t *held = priv_allocset();

	stage->now.step = STEP_OBSERVE;
	if (!held || getppriv(PRIV_PERMITTED, held) || apply_steps(plan, &stage->now))
		return;
	if (try_as_new_identity(plan, held, &stage->now))
		return;
	stage->now.step = STEP_READ_BACK;
	if (observe_process(&stage->state, size))
		return;
	stage->jailed = plan->steps & (1u << STEP_CHROOT) && is_jailed(plan->root);
	stage->now.step = STEP_NONE;
}

/* The child holds the other end of this pipe: end of file is its end. */
static int await_child(pid_t child, int end_of_child, struct failure *why)
{
	struct pollfd end = {.fd = end_of_child, .events = POLLIN};
	int ready = poll(&end, 1, LONGEST_MS);
	int poll_error = errno;
	int status;

	/* If it has ended after all, and only somebody else holds the pipe, it is too late for this to hit it. */
	if (ready != 1)
		kill(child, SIGKILL);
	if (waitpid(child, &status, 0) != child) {
		why->error = errno;
		return -1;
	}
	if (!WIFSIGNALED(status))
		return 0;
	if (ready != 1 && WTERMSIG(status) == SIGKILL)
		why->error = ready ? poll_error : ETIMEDOUT;
	else
		why->signo = WTERMSIG(status);
	return -1;
}

static int run_child(const struct plan *plan, struct stage *stage, size_t size, struct failure *why)
{
	int ends[2];
	int result = -1;
	pid_t child = -1;

	if (pipe(ends)) {
		why->error = errno;
		return -1;
	}
	if (!fcntl(ends[0], F_SETFD, FD_CLOEXEC) && !fcntl(ends[1], F_SETFD, FD_CLOEXEC))
		child = forkx(FORK_NOSIGCHLD | FORK_WAITPID);
	if (child == 0) {
		rehearse_here(plan, stage, size);
		stage->now.error = errno;
		_exit(0);
	}
	why->error = child < 0 ? errno : 0;
	close(ends[1]);
	if (child > 0 && (result = await_child(child, ends[0], why)) == 0 && stage->now.step != STEP_NONE) {
		*why = stage->now;
		result = -1;
	} else if ((why->signo || why->error == ETIMEDOUT) && stage->now.step) {
		why->step = stage->now.step; /* it was ended there; any other error is that of a call made here */
	}
	close(ends[0]);
	return result;
}

static int rehearse_on(const struct plan *plan, struct stage *stage, size_t size, struct failure *why)
{
	sigset_t all, before;
	int result;

	/* The child must not run this process's handlers. */
	sigfillset(&all);
	if ((why->error = pthread_sigmask(SIG_SETMASK, &all, &before)))
		return -1;
	result = run_child(plan, stage, size, why);
	if ((errno = pthread_sigmask(SIG_SETMASK, &before, NULL)))
		end_here(STEP_MASK);
	return result;
}

int rehearse(const struct plan *plan, struct reading *reading, struct failure *why)
{
	size_t size = state_size();
	size_t whole = offsetof(struct stage, state) + size;
	struct stage *stage = MAP_FAILED;
	int result;

	*why = (struct failure){.step = STEP_MEMORY};
	if (size)
		stage = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);
	if (stage == MAP_FAILED || !(reading->state = malloc(size))) {
		why->error = errno;
		if (stage != MAP_FAILED)
			munmap(stage, whole);
		return -1;
	}
	why->step = STEP_CHILD;
	if (!(result = rehearse_on(plan, stage, size, why))) {
		memcpy(reading->state, &stage->state, size);
		reading->jailed = stage->jailed;
	}
	munmap(stage, whole);
	if (result)
		release_reading(reading);
	return result;
}
