/*
 * commit.c - the one irreversible act, from top to bottom
 *
 * Up to the line a refusal leaves the process as it was. From the line on there is no way back, so there is no error to
 * return either: a failure ends the process, because a half-privileged one must not go on.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { READ_MAX = 1500000 }; /* threads x groups: a second of reading */

/* The commit's buffers. Mapped before the line, and not touched by the threads. */
struct workspace {
	const struct plan *plan;
	int tasks;
	struct committed *done;
	struct failure *why;
	size_t capacity;  /* parked threads */
	size_t text_size;
	char *text, *lines; /* one thread's status; the lines selected from it */
	struct text before, expected;
	void *memory;
	size_t memory_size;
};

static uint32_t microseconds_since(struct timespec *then)
{
	struct timespec before = *then;

	clock_gettime(CLOCK_MONOTONIC, then);
	return (uint32_t)((then->tv_sec - before.tv_sec) * 1000000 + (then->tv_nsec - before.tv_nsec) / 1000);
}

static int refuse(struct workspace *space, enum step step, int error, pid_t tid)
{
	*space->why = (struct failure){.step = step, .error = error, .tid = tid};
	return -1;
}

/* Write the selected lines of a text to `at`; returns the end of the room that they may need. */
static char *select_into(struct text *lines, struct text from, bool with_filters, char *at)
{
	*lines = (struct text){at, select_lines(from, with_filters, at)};
	return at + from.length;
}

static int map_workspace(struct workspace *space)
{
	const struct plan *plan = space->plan;
	struct committed *done = space->done;
	size_t longest = plan->before.length > plan->expected.length ? plan->before.length : plan->expected.length;
	size_t groups = plan->group_count > plan->held_group_count ? plan->group_count : plan->held_group_count;
	char *at;

	space->capacity = count_parked_threads();
	space->text_size = longest + status_size(0); /* a thread's name and times may be longer */
	if (groups * space->capacity > READ_MAX)
		return refuse(space, STEP_GROUPS, 0, 0);
	done->memory_size = space->capacity * sizeof *done->threads + ROOT_CHILDREN_MAX * sizeof *done->root_children;
	space->memory_size = 2 * space->text_size + plan->before.length + plan->expected.length + 1;
	done->memory = mmap(NULL, done->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	space->memory = mmap(NULL, space->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (done->memory == MAP_FAILED || space->memory == MAP_FAILED)
		return refuse(space, STEP_MEMORY, errno, 0);
	done->threads = done->memory;
	done->root_children = (pid_t *)(done->threads + space->capacity);
	at = space->memory;
	space->text = at;
	space->lines = at += space->text_size;
	at = select_into(&space->before, plan->before, true, at + space->text_size);
	select_into(&space->expected, plan->expected, false, at);
	return space->before.length && space->expected.length ? 0 : refuse(space, STEP_COMPARE, ENODATA, 0);
}

static void unmap(void *memory, size_t size)
{
	if (memory && memory != MAP_FAILED)
		munmap(memory, size);
}

void release_commit(struct committed *done)
{
	unmap(done->memory, done->memory_size);
}

/* 0: the thread's lines are these. Else errno, or -1 if they differ. */
static int compare_text(struct workspace *space, pid_t tid, struct text wanted, bool with_filters)
{
	ssize_t length = read_status(space->tasks, tid, space->text, space->text_size);
	size_t selected;

	if (length < 0)
		return errno;
	selected = select_lines((struct text){space->text, (size_t)length}, with_filters, space->lines);
	return selected == wanted.length && !memcmp(space->lines, wanted.at, selected) ? 0 : -1;
}

static long compare_by_kcmp(const struct plan *plan, pid_t tid, int type)
{
	return plan->without_kcmp ? -1 : syscall(SYS_kcmp, this_thread(), tid, type, 0, 0);
}

/* false: the thread has unshared it (unshare(2), CLONE_FS). Where kcmp(2) is refused, as in a container: the umask
 * belongs to the same structure, so this thread changes it and reads the other thread's status. No file system is
 * asked. */
static bool shares_root(struct workspace *space, pid_t tid)
{
	long differ = compare_by_kcmp(space->plan, tid, KCMP_FS);
	struct text text = {space->text, 0};
	uint64_t seen = 0;
	mode_t own, probe;
	ssize_t length;

	if (differ >= 0)
		return differ == 0;
	own = umask(0777);
	probe = own == 0777 ? 0077 : 0777;
	umask(probe);
	length = read_status(space->tasks, tid, space->text, space->text_size);
	umask(own);
	text.length = length < 0 ? 0 : (size_t)length;
	return number_in(text, "Umask:", 8, &seen) && seen == probe;
}

/* A thread with a table of its own (unshare(2), CLONE_FILES) could keep open what was not examined. Without kcmp(2):
 * such a table lacks a descriptor that is opened now, while the thread is parked. */
static bool shares_files(struct workspace *space, pid_t tid)
{
	long differ = compare_by_kcmp(space->plan, tid, KCMP_FILES);
	int opened;
	bool shares;

	if (differ >= 0)
		return differ == 0;
	if ((opened = openat(space->tasks, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return false;
	shares = has_descriptor(space->tasks, tid, opened);
	close(opened);
	return shares;
}

/* each_number(): is this thread what the plan was made for? */
static int compare_before(pid_t tid, void *context)
{
	struct workspace *space = context;
	int result = compare_text(space, tid, space->before, true);

	if (result)
		return refuse(space, STEP_COMPARE, result > 0 ? result : 0, tid);
	if (securebits_of(tid) != (int64_t)space->plan->securebits)
		return refuse(space, STEP_COMPARE, 0, tid);
	if ((has_step(space->plan->steps, STEP_CHROOT) && !shares_root(space, tid)) || !shares_files(space, tid))
		return refuse(space, STEP_SHARED, 0, tid);
	return 0;
}

/* Every check that can still refuse once all threads are parked. */
static int prepare(struct workspace *space)
{
	*space->why = (struct failure){.step = STEP_PARK, .error = ETIMEDOUT};
	if (!is_everyone_inside() || map_workspace(space))
		return -1;
	*space->why = (struct failure){.step = STEP_PROC};
	if (each_number(space->tasks, compare_before, space)) {
		if (space->why->step == STEP_PROC)
			space->why->error = errno;
		return -1;
	}
	return refuse_descriptors(space->plan, space->tasks, space->why) ||
	               look_at_other_processes(space->tasks, space->done, space->why)
	               ? -1
	               : 0;
}

/* For the report, from the text that was just compared. */
static void keep_thread(struct workspace *space, pid_t tid)
{
	struct thread *thread = &space->done->threads[space->done->count++];
	const char *name = space->text + sizeof "Name:\t" - 1;
	size_t length = 0;

	while (length < THREAD_NAME_SIZE - 1 && name[length] != '\n')
		length++;
	thread->tid = tid;
	memcpy(thread->name, name, length); /* the memory is zero */
}

/* End the process with the first line that differs, as wanted and as found. */
static _Noreturn void end_by_first_difference(struct workspace *space, pid_t tid)
{
	char *wanted = (char *)space->expected.at, *found = space->lines; /* both are the workspace's */
	char *wanted_end, *found_end;

	space->lines[space->text_size - 1] = '\0';
	for (;;) {
		wanted_end = strchr(wanted, '\n');
		found_end = strchr(found, '\n');
		if (!wanted_end || !found_end)
			break;
		*wanted_end = *found_end = '\0';
		if (strcmp(wanted, found))
			end_unequal(STEP_READ_BACK, tid, wanted, found);
		wanted = wanted_end + 1;
		found = found_end + 1;
	}
	end_unequal(STEP_READ_BACK, tid, "the rehearsed credentials", "a text that lacks some");
}

/* each_number(): is this thread what it had to become? Does not return if not. */
static int prove_thread(pid_t tid, void *context)
{
	struct workspace *space = context;
	const struct plan *plan = space->plan;
	int result;

	if (space->done->count == space->capacity)
		end_unequal(STEP_READ_BACK, tid, "no such thread", "one that was not parked");
	if ((result = compare_text(space, tid, space->expected, false))) {
		errno = result;
		if (result > 0)
			end_here(STEP_READ_BACK);
		end_by_first_difference(space, tid);
	}
	if (has_step(plan->steps, STEP_CHROOT) && !is_jailed(space->tasks, tid, plan->root))
		end_unequal(STEP_READ_BACK, tid, "the new root directory", "another");
	if (securebits_of(tid) != (int64_t)plan->securebits)
		end_unequal(STEP_READ_BACK, tid, "the securebits as before", "others");
	keep_thread(space, tid);
	return 0;
}

/* A second listing, so that a thread that parking has missed is read and found out too. */
static void prove(struct workspace *space)
{
	errno = 0;
	if (each_number(space->tasks, prove_thread, space) < 0)
		end_here(STEP_READ_BACK);
	if (space->done->count != space->capacity)
		end_unequal(STEP_READ_BACK, 0, "every thread", "fewer");
	if (syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		end_unequal(STEP_DUMPABLE, 0, "0", "otherwise");
	if (check_sigusr1(space->plan->keep_sigusr1))
		end_unequal(STEP_SIGUSR1, 0, "ignored", "otherwise");
}

/* Apply the plan and prove it, with every thread parked. A failure ends the process. */
static void cross(struct workspace *space, struct timespec *clock)
{
	const struct plan *plan = space->plan;
	struct failure why = {.step = STEP_NONE};

	/* Node opens its inspector on SIGUSR1, and a process of the new user may be sending it already: ignore it before
	 * the first thread can be reached from there. */
	if (!plan->keep_sigusr1 && ignore_signal(SIGUSR1))
		end_here(STEP_SIGUSR1);
	if (change_root(plan, &why) || apply_in_every_thread(plan, &why))
		end_at(&why);
	space->done->apply_us = microseconds_since(clock);

	prove(space);
	/* Left open, it would be a way out of a chroot. */
	if (close(space->tasks))
		end_here(STEP_READ_BACK);
	*plan->kept = 1;
	space->done->read_us = microseconds_since(clock);
}

/* Called with signal 33 taken. 0: done. */
static int park_and_cross(struct workspace *space, struct timespec *clock)
{
	bool parked = !park_every_thread(space->tasks, &space->done->park_tries, space->why);
	int refused = !parked || prepare(space) ? -1 : 0;

	space->done->park_us = microseconds_since(clock);
	if (!refused) {
		/* ===== The line. Nothing has changed up to here; from here on there is no way back. ===== */
		cross(space, clock);
	}
	/* Before the release, so that no thread can install another handler in between. */
	if (give_park_signal_back())
		end_here(STEP_SIGNAL);
	if (parked)
		release_every_thread();
	return refused;
}

int commit(const struct plan *plan, struct committed *done, struct failure *why)
{
	struct workspace space = {.plan = plan, .done = done, .why = why, .tasks = open_tasks(why)};
	struct timespec clock;
	uint64_t mask;
	int refused = -1;

	*done = (struct committed){0};
	if (space.tasks < 0)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &clock);
	if (block_signals(&mask)) {
		*why = (struct failure){.step = STEP_MASK, .error = errno};
	} else {
		if (!take_park_signal(why))
			refused = park_and_cross(&space, &clock);
		if (restore_signals(mask))
			end_here(STEP_MASK);
	}
	unmap(space.memory, space.memory_size);
	if (refused) {
		close(space.tasks);
		release_commit(done);
	}
	return refused;
}
