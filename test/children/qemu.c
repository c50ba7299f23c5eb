/*
 * qemu.c - what qemu's user mode cannot do, or shows of itself, for the run on an emulated arm64: preloaded there, and nowhere
 * else
 *
 * qemu has a thread of its own, the first after main, that blocks all signals and stays root: it is taken out of the listings
 * of /proc/self/task. And it makes no child that sends no signal when it ends.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long (*real)(long number, ...);
static char helper[16];

__attribute__((constructor)) static void look(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;

	real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	/* the listing ascends */
	while ((task = readdir(tasks)))
		if (atoi(task->d_name) > getpid()) {
			strcpy(helper, task->d_name);
			break;
		}
	closedir(tasks);
}

static long without_helper(char *entries, long length)
{
	for (long at = 0; at < length;) {
		unsigned short size = *(unsigned short *)(entries + at + 16);

		if (!strcmp(entries + at + 19, helper)) {
			memmove(entries + at, entries + at + size, length - at - size);
			length -= size;
		} else {
			at += size;
		}
	}
	return length;
}

long syscall(long number, ...)
{
	long a[6], result;
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_clone && a[0] == 0)
		a[0] = SIGCHLD;
	result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_getdents64 && result > 0)
		result = without_helper((char *)a[1], result);
	if (number == SYS_statx && !result && a[3] == STATX_NLINK && ((struct statx *)a[4])->stx_nlink > 2)
		((struct statx *)a[4])->stx_nlink--;
	return result;
}
