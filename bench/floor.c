/*
 * floor.c - the least work in N threads: a signal to each, its changes, its return, and a reading of it afterwards
 *
 * It does not check for threads that are counted twice or created meanwhile. With 'hold' no thread begins before all
 * have come and given their ids, so that they can be compared while nothing has changed; and none goes on before all
 * are done, so that no thread runs half privileged: each is woken three times instead of once.
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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* What only the thread itself can read. */
static void say_who_here(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	uint64_t heritable;
	gid_t groups[64];
	uid_t ids[3];

	failed |= syscall(SYS_getresuid, &ids[0], &ids[1], &ids[2]) || syscall(SYS_getresgid, &ids[0], &ids[1], &ids[2]);
	syscall(SYS_setfsuid, -1);
	syscall(SYS_setfsgid, -1);
	failed |= syscall(SYS_capget, &header, data);
	heritable = (data[0].permitted & data[0].inheritable) |
	            (uint64_t)(data[1].permitted & data[1].inheritable) << 32;
	for (long capability = 0; capability < 64; capability++) {
		if (!(drop >> capability & 1) && prctl(PR_CAPBSET_READ, capability) < 0)
			break;
		if (heritable >> capability & 1)
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0);
	}
	failed |= prctl(PR_GET_SECUREBITS) < 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) < 0 || prctl(PR_GET_SECCOMP) < 0;
	failed |= syscall(SYS_getgroups, syscall(SYS_getgroups, 0, groups), groups) < 0;
}

static void on_signal(int signo)
{
	(void)signo;
	if (holds) {
		say_who_here();
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

static void commit(const int *tids)
{
	for (uint32_t i = 0; i < others; i++)
		failed |= syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1);
	if (holds) {
		await(&here, others);
		let_all(&released);
	}
	change_here();
	await(&done, others);
	if (holds) {
		let_all(&over);
		await(&left, others);
	}
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
	usleep(20000);
	start = changed = microseconds();
	if (strcmp(argv[3], "nothing")) {
		commit(tids);
		changed = microseconds();
		for (uint32_t i = 0; i <= others; i++)
			look(dirfd(folder), i < others ? tids[i] : getpid());
	}
	printf("{\"commit\":%.1f,\"audit\":%.1f}\n", changed - start, microseconds() - changed);
	fflush(stdout);
	return failed || read(0, &failed, 1);
}
