/*
 * rehearse.c - the list, tried out in a child that is thrown away
 *
 * Whatever the kernel would refuse in the commit it refuses here first: container limits, user namespaces, seccomp
 * filters, security modules. The child is a copy of the calling thread, made by a raw clone(2): no atfork handlers, no
 * SIGCHLD, no memory, file table or root shared. It makes system calls only, and stores the number of each step before
 * it takes it, so that a death by signal has a place too.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONGEST_MS = 10000 };

/* Shared between the two: what the child leaves behind. */
struct stage {
	struct failure now; /* its step under way */
	struct task_text task;
	int dumpable;
	int foreign[FOREIGN_MAX];
	size_t foreign_count;
	char text[];
};

/* Returns when it is through, or at the step that has failed, with errno. */
static void rehearse_here(const struct plan *plan, struct stage *stage, size_t text_size)
{
	bool chroot = plan->steps & (1u << STEP_CHROOT);
	int tasks = open_tasks(&stage->now);
	long securebits;
	ssize_t length;

	if (tasks < 0)
		return;
	if (change_root(plan, &stage->now) || apply_steps(plan, &stage->now))
		return;

	if (try_as_new_identity(plan, tasks, &stage->now))
		return;
	stage->now.step = STEP_DESCRIPTORS;
	stage->foreign_count = list_foreign(tasks, stage->foreign);

	stage->now.step = STEP_READ_BACK;
	if ((securebits = syscall(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0)) < 0 ||
	    (stage->dumpable = (int)syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0)) < 0 ||
	    (length = read_status(tasks, this_thread(), stage->text, text_size)) < 0)
		return;
	stage->task = (struct task_text){
		.tid = this_thread(),
		.securebits = (uint32_t)securebits,
		.jailed = chroot && is_jailed(tasks, this_thread(), plan->root),
		.status = stage->text,
		.length = length,
	};
	stage->now.step = STEP_NONE;
}

static _Noreturn void rehearse_as_child(const struct plan *plan, struct stage *stage, size_t text_size)
{
	rehearse_here(plan, stage, text_size);
	stage->now.error = errno;
	for (;;)
		syscall(SYS_exit_group, 0);
}

/* The child holds the other end of this pipe: end of file is its end. (A pidfd needs Linux 5.2.) */
static int await_child(pid_t child, int end_of_child, struct failure *why)
{
	struct pollfd end = {.fd = end_of_child, .events = POLLIN};
	int ready = poll(&end, 1, LONGEST_MS);
	int poll_error = errno;
	int status;

	/* If it has ended after all, and only somebody else holds the pipe, it is too late for this to hit it. */
	if (ready != 1)
		kill(child, SIGKILL);
	/* __WALL: it sends no SIGCHLD (waitpid(2)). */
	if (waitpid(child, &status, __WALL) != child) {
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

static int run_child(const struct plan *plan, struct stage *stage, size_t text_size, struct failure *why)
{
	int ends[2];
	int result = -1;
	long child;

	if (pipe2(ends, O_CLOEXEC)) {
		why->error = errno;
		return -1;
	}
	child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
	if (child == 0)
		rehearse_as_child(plan, stage, text_size);
	why->error = child < 0 ? errno : 0;
	close(ends[1]);
	if (child > 0 && (result = await_child((pid_t)child, ends[0], why)) == 0 && stage->now.step != STEP_NONE) {
		*why = stage->now;
		result = -1;
	} else if ((why->signo || why->error == ETIMEDOUT) && stage->now.step) {
		why->step = stage->now.step; /* it was ended there; any other error is that of a call made here */
	}
	close(ends[0]);
	return result;
}

int rehearse(const struct plan *plan, struct reading *reading, struct failure *why)
{
	size_t text_size = status_size(plan->group_count);
	struct stage *stage;
	uint64_t mask;
	int result;

	*why = (struct failure){.step = STEP_CHILD};
	reading->memory_size = sizeof *stage + text_size;
	stage = mmap(NULL, reading->memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED) {
		why->error = errno;
		return -1;
	}
	/* The child must not run this process's handlers. */
	result = block_signals(&mask);
	if (!result) {
		result = run_child(plan, stage, text_size, why);
		if (restore_signals(mask))
			end_here(STEP_MASK);
	} else {
		why->error = errno;
	}
	reading->memory = stage;
	reading->tasks = &stage->task;
	reading->count = 1;
	reading->dumpable = stage->dumpable;
	reading->foreign = stage->foreign;
	reading->foreign_count = stage->foreign_count;
	if (result)
		release_reading(reading);
	return result;
}
