/*
 * floor.c - the least that can be done in N threads: a signal to each, its changes, its return, and a look at it afterwards
 *
 * Nothing is compared, nobody is counted twice, no thread that is born meanwhile is found. With 'park' none begins before
 * all have come: that is what keeps a half-privileged process from running, and it takes each thread a second wake-up.
 *
 * floor THREADS idle|busy drop|keep park|go|nothing: prints { commit, audit }, in microseconds, and stays until its standard input ends.
 */
#define _GNU_SOURCE
#include "changes.h"
#include "crowd.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static _Atomic uint32_t here, done, released;
static _Atomic long failed;
static uint32_t others;
static uint64_t drop;
static int parks;

static long here_only(long number, long a, long b, long c, long d, long e, long f)
{
	return syscall(number, a, b, c, d, e, f);
}

static void await(_Atomic uint32_t *word, uint32_t wanted)
{
	uint32_t seen;

	while ((seen = *word) != wanted)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void count(_Atomic uint32_t *word)
{
	if (++*word == others)
		syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void change_here(void)
{
	failed |= change(here_only, drop) || prctl(PR_GET_SECUREBITS) < 0;
}

static void on_signal(int signo)
{
	(void)signo;
	if (parks) {
		count(&here);
		await(&released, 1);
	}
	change_here();
	count(&done);
}

static double microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void commit(const int *tids)
{
	for (uint32_t i = 0; i < others; i++)
		failed |= syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1);
	if (parks) {
		await(&here, others);
		released = 1;
		syscall(SYS_futex, &released, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	}
	change_here();
	await(&done, others);
}

static void look(int tasks, int tid)
{
	char path[32], text[4096];
	int status;

	snprintf(path, sizeof path, "%d/status", tid);
	status = openat(tasks, path, O_RDONLY);
	failed |= read(status, text, sizeof text) <= 0 || close(status);
}

int main(int argc, char **argv)
{
	DIR *folder = opendir("/proc/self/task");
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	double start, changed;
	int *tids;

	if (argc != 5 || !folder)
		return 1;
	others = atoi(argv[1]) - 1;
	drop = strcmp(argv[3], "drop") ? 0 : bounding_to_drop();
	parks = !strcmp(argv[4], "park");
	tids = calloc(others + 1, sizeof *tids);
	if (sigaction(SIGUSR1, &action, NULL) || start_threads(others, !strcmp(argv[2], "busy")))
		return 1;
	for (uint32_t i = 0; i < others;) {
		int tid = atoi(readdir(folder)->d_name);

		if (tid && tid != getpid())
			tids[i++] = tid;
	}
	usleep(20000);
	start = changed = microseconds();
	if (strcmp(argv[4], "nothing")) {
		commit(tids);
		changed = microseconds();
		for (uint32_t i = 0; i <= others; i++)
			look(dirfd(folder), i < others ? tids[i] : getpid());
	}
	printf("{\"commit\":%.1f,\"audit\":%.1f}\n", changed - start, microseconds() - changed);
	fflush(stdout);
	return failed || read(0, &failed, 1);
}
