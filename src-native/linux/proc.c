/*
 * proc.c - what the kernel says in /proc about this process
 *
 * It shares no code with what changes credentials. /proc must be that of our own pid namespace, else its task numbers
 * are those of other processes. It is opened once and read through that descriptor, which keeps working after a chroot
 * and under hidepid=2.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

pid_t this_thread(void)
{
	return (pid_t)syscall(SYS_gettid); /* gettid(3) and fstat(3) need a newer glibc than Node does */
}

void decimal(char text[DECIMAL_SIZE], int number)
{
	char *end = &text[DECIMAL_SIZE - 1];

	*end = '\0';
	do
		*--end = (char)('0' + number % 10);
	while (number /= 10);
	memmove(text, end, text + DECIMAL_SIZE - end);
}

int open_tasks(struct failure *why)
{
	char tid[DECIMAL_SIZE];
	struct statfs system;
	int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*why = (struct failure){.step = STEP_PROC, .error = errno};
	if (tasks < 0)
		return -1;

	/* A file system of another kind, or the /proc of a pid namespace in which this thread has another number. Not
	 * faccessat(3): it calls faccessat2(2), which older seccomp filters refuse. */
	decimal(tid, this_thread());
	why->call = "fstatfs";
	if (fstatfs(tasks, &system)) {
		why->error = errno;
	} else if (system.f_type != PROC_SUPER_MAGIC) {
		why->error = ENODEV;
	} else if (syscall(SYS_faccessat, tasks, tid, F_OK)) {
		why->call = "faccessat";
		why->error = errno;
	} else {
		*why = (struct failure){.step = STEP_PROC};
		return tasks;
	}
	close(tasks);
	errno = why->error;
	return -1;
}

int describe(int descriptor, unsigned mask, struct statx *found)
{
	return (int)syscall(SYS_statx, descriptor, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, found);
}

long count_tasks(int tasks)
{
	struct statx directory;

	if (describe(tasks, STATX_NLINK, &directory))
		return -1;
	/* The kernel adds the number of live tasks to the two links that any directory has (fs/proc/base.c). */
	return (long)directory.stx_nlink - 2;
}

int each_number(int folder, int (*visit)(int number, void *context), void *context)
{
	char buffer[8192] __attribute__((aligned(8)));
	long length;

	if (lseek(folder, 0, SEEK_SET) < 0)
		return -1;
	while ((length = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < length;) {
			/* struct linux_dirent64, getdents(2) */
			const char *entry = buffer + at;
			const char *digit = entry + 19;
			int number = 0;
			int result;

			at += *(const unsigned short *)(entry + 16);
			if (*digit < '0' || *digit > '9')
				continue; /* ".", ".." and the named entries of /proc */
			while (*digit >= '0' && *digit <= '9')
				number = number * 10 + (*digit++ - '0');
			if ((result = visit(number, context)))
				return result;
		}
	return length < 0 ? -1 : 0;
}

ssize_t read_file(int folder, const char *path, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got = 0;
	int file = openat(folder, path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return -1;
	while (length < size && (got = read(file, text + length, size - length)) > 0)
		length += (size_t)got;
	if (close(file) || got < 0)
		return -1;
	return (ssize_t)length;
}

size_t status_size(size_t group_count)
{
	/* Without the groups, a status text up to the last compared line is well under 2 KB, names and sets included; a
	 * group takes at most ten digits and a space. */
	return 4096 + group_count * 11;
}

enum { PATH_SIZE = DECIMAL_SIZE + sizeof "/status" };

static const char *task_path(char path[PATH_SIZE], pid_t tid, const char *file)
{
	decimal(path, tid);
	memcpy(path + strlen(path), file, strlen(file) + 1);
	return path;
}

ssize_t read_status(int tasks, pid_t tid, char *text, size_t size)
{
	char path[PATH_SIZE];

	return read_file(tasks, task_path(path, tid, "/status"), text, size);
}

/* The length of the line at `from`, newline included; 0: there is no newline. */
static size_t line_length(struct text text, size_t from)
{
	const char *end = from < text.length ? memchr(text.at + from, '\n', text.length - from) : NULL;

	return end ? (size_t)(end - (text.at + from)) + 1 : 0;
}

static bool begins(const char *line, size_t length, const char *label)
{
	size_t size = strlen(label);

	return length > size && !memcmp(line, label, size);
}

size_t select_lines(struct text status, bool with_filters, char *lines)
{
	/* in the kernel's order; the last two are not in every kernel */
	static const char *const labels[] = {"Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:",
		"CapAmb:", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:"};
	unsigned count = with_filters ? sizeof labels / sizeof *labels : SELECTED_LINES;
	unsigned next = 0;
	size_t written = 0, length;

	for (size_t at = 0; next < count && (length = line_length(status, at)) > 0; at += length) {
		/* without seccomp filters the kernel leaves out the last line, without seccomp the last two */
		unsigned is = next;

		while (is < count && !begins(status.at + at, length, labels[is]))
			is = is < SELECTED_LINES ? count : is + 1;
		if (is == count)
			continue;
		memcpy(lines + written, status.at + at, length);
		written += length;
		next = is + 1;
	}
	return next < SELECTED_LINES ? 0 : written;
}

bool number_in(struct text text, const char *label, unsigned base, uint64_t *number)
{
	size_t length;

	for (size_t at = 0; (length = line_length(text, at)) > 0; at += length)
		if (begins(text.at + at, length, label)) {
			const char *digit = text.at + at + strlen(label);

			*number = 0;
			while (*digit == ' ' || *digit == '\t')
				digit++;
			for (; *digit >= '0' && *digit < (char)('0' + base); digit++)
				*number = *number * base + (uint64_t)(*digit - '0');
			return true;
		}
	return false;
}

/* Does this path below `tasks` lead to the directory that is open there? */
static bool leads_to(int tasks, const char *path, int directory)
{
	struct statx wanted, found;

	return !describe(directory, STATX_INO, &wanted) &&
	       !syscall(SYS_statx, tasks, path, AT_STATX_DONT_SYNC, STATX_INO, &found) && found.stx_ino == wanted.stx_ino &&
	       found.stx_dev_major == wanted.stx_dev_major && found.stx_dev_minor == wanted.stx_dev_minor;
}

bool is_jailed(int tasks, pid_t tid, int root)
{
	char path[PATH_SIZE];

	return leads_to(tasks, task_path(path, tid, "/root"), root) && leads_to(tasks, task_path(path, tid, "/cwd"), root);
}

bool has_descriptor(int tasks, pid_t tid, int descriptor)
{
	char path[PATH_SIZE + DECIMAL_SIZE];

	task_path(path, tid, "/fd/");
	decimal(path + strlen(path), descriptor);
	return leads_to(tasks, path, descriptor);
}

/* 0, or -1 with errno, and in *why the step or the call. */
static int observe_with(int tasks, char **status, uint32_t *securebits, struct failure *why)
{
	int groups, bits;
	size_t size;

	why->call = "getgroups";
	if ((groups = getgroups(0, NULL)) < 0)
		return -1;
	why->call = "prctl";
	if ((bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)) < 0)
		return -1;
	*securebits = (uint32_t)bits;
	size = status_size((size_t)groups);
	*why = (struct failure){.step = STEP_MEMORY};
	if (!(*status = calloc(1, size + 1)))
		return -1;
	why->step = STEP_PROC;
	return read_status(tasks, this_thread(), *status, size) < 0 ? -1 : 0;
}

int observe_thread(char **status, uint32_t *securebits, struct failure *why)
{
	int tasks = open_tasks(why);

	*status = NULL;
	if (tasks < 0)
		return -1;
	if (observe_with(tasks, status, securebits, why)) {
		why->error = errno;
		free(*status);
		close(tasks);
		return -1;
	}
	close(tasks);
	return 0;
}
