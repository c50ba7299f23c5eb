/*
 * floor.c - the least work in N threads: a signal to each, its changes, its return, and a reading of it afterwards
 *
 * It does not check for threads that are counted twice or created meanwhile. With 'hold' no thread begins before all
 * have come, so that each can be read, with its children, and compared while nothing has changed, and so can the memory of
 * every other process; and none goes on before all are done, so that no thread runs half privileged: each is woken three
 * times instead of once. Before that, the process has been copied, as for a rehearsal: afterwards the kernel has to make
 * every page writable again, one or more of each thread's stack among them.
 *
 * floor THREADS idle|busy go|hold|nothing: prints { commit, audit }, in microseconds, and stays until its standard input ends.
 */
#define _GNU_SOURCE
#include "changes.h"
#include "crowd.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static _Atomic uint32_t here, done, left, released, over;
static _Atomic long failed;
static uint32_t others;
static uint64_t drop;
static int holds;

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
	if (holds) {
		failed |= prctl(PR_GET_SECUREBITS) < 0;
		count(&here);
		await(&released, 1);
	}
	change_here();
	count(&done);
	if (holds) {
		await(&over, 1);
		count(&left);
	}
}

static void let_all(_Atomic uint32_t *word)
{
	*word = 1;
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static double microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static char text[4096];

/* false: it cannot be read, as where a process has ended. */
static bool look(int folder, int number, const char *name)
{
	char path[32];
	ssize_t length;
	int file;

	snprintf(path, sizeof path, "%d/%s", number, name);
	if ((file = openat(folder, path, O_RDONLY)) < 0)
		return false;
	length = read(file, text, sizeof text);
	close(file);
	return length >= 0;
}

/* The size of the memory. A kernel thread has none; it has one thread, and a process may have more that do. */
static void look_at_processes(void)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	struct statx tasks;
	char path[32];

	while (folder && (entry = readdir(folder))) {
		int process = atoi(entry->d_name);

		if (!process || !look(dirfd(folder), process, "statm") || *text != '0')
			continue;
		snprintf(path, sizeof path, "%d/task", process);
		statx(dirfd(folder), path, AT_STATX_DONT_SYNC, STATX_NLINK, &tasks);
	}
	closedir(folder);
}

static void look_at_all(int tasks, const int *tids)
{
	for (uint32_t i = 0; i <= others; i++) {
		failed |= !look(tasks, tids[i], "status");
		syscall(SYS_kcmp, getpid(), tids[i], KCMP_FILES, 0, 0);
		look(tasks, tids[i], "children");
	}
	look_at_processes();
}

static int copy_process(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	return child < 0 || waitpid(child, NULL, 0) < 0;
}

/* The last of the threads is this one. */
static void commit(int tasks, const int *tids)
{
	for (uint32_t i = 0; i < others; i++)
		failed |= syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1);
	if (holds) {
		await(&here, others);
		look_at_all(tasks, tids);
		let_all(&released);
	}
	change_here();
	await(&done, others);
	if (holds) {
		let_all(&over);
		await(&left, others);
	}
}

int main(int argc, char **argv)
{
	DIR *folder = opendir("/proc/self/task");
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	double start, changed;
	int *tids;

	if (argc != 4 || !folder)
		return 1;
	others = atoi(argv[1]) - 1;
	drop = bounding_to_drop();
	holds = !strcmp(argv[3], "hold");
	tids = calloc(others + 1, sizeof *tids);
	if (sigaction(SIGUSR1, &action, NULL) || start_threads(others, !strcmp(argv[2], "busy")))
		return 1;
	for (uint32_t i = 0; i < others;) {
		int tid = atoi(readdir(folder)->d_name);

		if (tid && tid != getpid())
			tids[i++] = tid;
	}
	tids[others] = getpid();
	usleep(20000);
	failed |= holds && copy_process();
	start = changed = microseconds();
	if (strcmp(argv[3], "nothing")) {
		commit(dirfd(folder), tids);
		changed = microseconds();
		for (uint32_t i = 0; i <= others; i++)
			failed |= !look(dirfd(folder), tids[i], "status");
	}
	printf("{\"commit\":%.1f,\"audit\":%.1f}\n", changed - start, microseconds() - changed);
	fflush(stdout);
	return failed || read(0, &failed, 1);
}
