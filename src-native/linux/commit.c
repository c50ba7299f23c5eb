/*
 * commit.c - the one irreversible act, from top to bottom
 *
 * Up to the line a refusal leaves the process as it was. From the line on there is no way back, so there is no error
 * to return either: what fails ends the process, because nobody may go on with a half-privileged one.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char *append(char *at, const char *text)
{
	size_t length = strlen(text);

	memcpy(at, text, length); /* more is to come: NOLINT(bugprone-not-null-terminated-result) */
	return at + length;
}

static char *append_number(char *at, unsigned number)
{
	if (number >= 10)
		at = append_number(at, number / 10);
	*at = (char)('0' + number % 10);
	return at + 1;
}

static _Noreturn void end_at(const struct failure *why)
{
	char line[256], *at = line;

	at = append(at, "privdrop: fatal: step '");
	at = append(at, step_names[why->step].step);
	at = append(at, "' (");
	at = append(at, step_names[why->step].syscall);
	at = append(at, ") in thread ");
	at = append_number(at, why->tid ? why->tid : this_thread());
	at = append(at, why->error ? ": wanted success, found errno " : ": wanted success, found no answer, errno ");
	at = append_number(at, why->error);
	at = append(at, "; the process ends because it would be half privileged\n");
	end_process(line, at - line);
}

_Noreturn void end_here(enum step step)
{
	end_at(&(struct failure){.step = step, .error = errno});
}

static uint32_t microseconds_since(struct timespec *then)
{
	struct timespec before = *then;

	clock_gettime(CLOCK_MONOTONIC, then);
	return (then->tv_sec - before.tv_sec) * 1000000 + (then->tv_nsec - before.tv_nsec) / 1000;
}

static int map_reading(const struct plan *plan, struct reading *reading, struct failure *why)
{
	uint32_t capacity = count_parked_threads();

	reading->count = reading->foreign_count = 0;
	reading->text_size = status_size(plan->group_count);
	reading->memory_size = capacity * (sizeof(struct task_text) + reading->text_size);
	reading->memory =
		mmap(NULL, reading->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (reading->memory == MAP_FAILED) {
		*why = (struct failure){.step = STEP_TABLE, .error = errno};
		return -1;
	}
	reading->tasks = reading->memory;
	reading->capacity = capacity;
	return 0;
}

void release_reading(struct reading *reading)
{
	munmap(reading->memory, reading->memory_size);
}

static char *texts(const struct reading *reading)
{
	return (char *)(reading->tasks + reading->capacity);
}

struct read_back {
	int tasks;
	int root; /* -1: no chroot */
	struct reading *reading;
};

static int read_task(pid_t tid, void *context)
{
	struct read_back *back = context;
	struct reading *reading = back->reading;
	struct task_text *task = &reading->tasks[reading->count];
	char *text = texts(reading) + reading->count * reading->text_size;
	ssize_t length;

	if (reading->count == reading->capacity)
		return -1; /* a task that was not there when all were parked */
	if ((length = read_status(back->tasks, tid, text, reading->text_size)) < 0)
		return -1;
	*task = (struct task_text){
		.tid = tid,
		.securebits = securebits_of(tid),
		.jailed = back->root >= 0 && is_jailed(back->tasks, tid, back->root),
		.status = text,
		.length = length,
	};
	reading->count++;
	return 0;
}

/* From a listing of its own, so that a thread that the list has missed is read, and found out, too. */
static int read_back(const struct plan *plan, int tasks, struct reading *reading)
{
	int root = (plan->steps & (1u << STEP_CHROOT)) ? plan->root : -1;

	errno = 0;
	reading->dumpable = (int)syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
	if (each_number(tasks, read_task, &(struct read_back){tasks, root, reading}))
		return -1;
	return reading->count == reading->capacity ? 0 : -1;
}

/* Everything that can still refuse when all threads are parked. */
static int prepare(const struct plan *plan, int tasks, struct reading *reading, struct failure *why)
{
	if (!compare_every_thread(why) && !refuse_descriptors(plan, tasks, why) && !map_reading(plan, reading, why)) {
		/* Is there a descriptor left to read with? Nobody can take it any more. */
		if (read_status(tasks, this_thread(), texts(reading), reading->text_size) >= 0)
			return 0;
		*why = (struct failure){.step = STEP_READ_BACK, .error = errno};
		release_reading(reading);
	}
	return -1;
}

/* What harden() promises, thread by thread; to be called with every thread parked. Does not return from a failure. */
static void cross(const struct plan *plan, int tasks, struct reading *reading, struct timespec *clock)
{
	struct failure why = {.step = STEP_NONE};

	/* Node opens its inspector on SIGUSR1, and a process of the new user may be sending that already: deaf to it
	 * before the first thread can be reached from there. */
	if (!plan->keep_sigusr1 && ignore_signal(SIGUSR1))
		end_here(STEP_SIGUSR1);
	if (change_root(plan, &why) || apply_in_every_thread(&why))
		end_at(&why);
	reading->apply_us = microseconds_since(clock);

	if (read_back(plan, tasks, reading))
		end_here(STEP_READ_BACK);
	/* Left open it would be a way out of a chroot. */
	if (close(tasks))
		end_here(STEP_READ_BACK);
	reading->read_us = microseconds_since(clock);
}

int commit(const struct plan *plan, struct reading *reading, struct failure *why)
{
	struct timespec clock;
	uint64_t mask;
	int tasks = open_tasks(why);
	int refused;

	if (tasks < 0)
		return -1;
	lock_threads();
	clock_gettime(CLOCK_MONOTONIC, &clock);
	if (block_signals(&mask)) {
		*why = (struct failure){.step = STEP_MASK, .error = errno};
		unlock_threads();
		close(tasks);
		return -1;
	}
	refused = take_park_signal(why);
	if (!refused) {
		bool parked = !park_every_thread(plan, tasks, why);

		refused = !parked || prepare(plan, tasks, reading, why);
		reading->park_us = microseconds_since(&clock);
		if (!refused)
			/* ===== The line. Nothing has changed up to here; from here on there is no way back. ===== */
			cross(plan, tasks, reading, &clock);
		/* While all stand here still: nobody can set a handler of his own in between. */
		if (give_park_signal_back())
			end_here(STEP_SIGNAL);
		if (parked)
			release_every_thread();
	}
	if (restore_signals(mask))
		end_here(STEP_MASK);
	unlock_threads();
	if (refused)
		close(tasks);
	return refused ? -1 : 0;
}
