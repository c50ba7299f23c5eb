/*
 * observe.c - what the kernel says: a thread about itself by system calls, and /proc about every task
 *
 * The two do not share code with what changes credentials, nor with one another. /proc must be that of our own pid
 * namespace, else its task numbers are somebody else's; it is opened once and read through that descriptor, which
 * goes on working after a chroot and under hidepid=2.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t this_thread(void)
{
	return (pid_t)syscall(SYS_gettid); /* gettid(3) and fstat(3) need a newer glibc than Node does */
}

size_t credentials_size(size_t group_count)
{
	/* rounded up, so that one may follow the other */
	return (sizeof(struct credentials) + group_count * sizeof(gid_t) + 7) & ~(size_t)7;
}

static int observe_sets(struct capability_sets *sets, uint64_t dropped)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -1;
	sets->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	sets->effective = data[0].effective | (uint64_t)data[1].effective << 32;
	sets->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
	sets->bounding = sets->ambient = 0;

	/* Up to the kernel's last capability, not to that of some table: from there on EINVAL. */
	for (unsigned capability = 0; capability < 64; capability++) {
		/* What is dropped soon is taken to be there: whoever has lost it already comes to the same. */
		long bounding = dropped >> capability & 1 ? 1 : syscall(SYS_prctl, PR_CAPBSET_READ, capability, 0, 0, 0);
		long ambient = 0;

		if (bounding < 0)
			return errno == EINVAL && capability > 0 ? 0 : -1;
		/* The ambient set is always within these two (capabilities(7)): there is nothing to ask elsewhere. */
		if ((sets->permitted & sets->inheritable) >> capability & 1)
			ambient = syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0);
		if (ambient < 0)
			return -1;
		sets->bounding |= (uint64_t)bounding << capability;
		sets->ambient |= (uint64_t)ambient << capability;
	}
	return 0;
}

int observe_this_thread(struct credentials *own, size_t room, uint64_t dropped)
{
	long securebits, no_new_privs, seccomp, groups;

	if (syscall(SYS_getresuid, &own->uid[0], &own->uid[1], &own->uid[2]) ||
	    syscall(SYS_getresgid, &own->gid[0], &own->gid[1], &own->gid[2]))
		return -1;
	/* An id that is none changes nothing; the answer is the present one, never an error (setfsuid(2)). */
	own->uid[3] = (uid_t)syscall(SYS_setfsuid, -1);
	own->gid[3] = (gid_t)syscall(SYS_setfsgid, -1);

	if (observe_sets(&own->sets, dropped) || (securebits = syscall(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0)) < 0 ||
	    (no_new_privs = syscall(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) < 0 ||
	    (groups = syscall(SYS_getgroups, 0, NULL)) < 0)
		return -1;
	/* EINVAL: a kernel without seccomp (prctl(2), PR_GET_SECCOMP). */
	if ((seccomp = syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0)) < 0 && errno != EINVAL)
		return -1;
	own->securebits = securebits;
	own->no_new_privs = no_new_privs;
	own->seccomp = seccomp < 0 ? 0 : seccomp;
	own->group_count = groups;
	if ((size_t)groups <= room && syscall(SYS_getgroups, groups, own->groups) != groups)
		return -1;
	return 0;
}

bool has_children(void)
{
	siginfo_t info;

	/* __WALL: also those that send no SIGCHLD. WNOWAIT: whoever waits for them goes on doing so. */
	return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) || errno != ECHILD;
}

int describe_this_thread(struct self_report *self, char path[PATH_MAX])
{
	struct statx root;

	if (syscall(SYS_prctl, PR_GET_NAME, self->name, 0, 0, 0) ||
	    syscall(SYS_statx, AT_FDCWD, "/", 0, STATX_INO, &root))
		return -1;
	self->root_device = makedev(root.stx_dev_major, root.stx_dev_minor);
	self->root_inode = root.stx_ino;
	/* "(unreachable)/...": it is not (getcwd(2)) */
	self->inside = syscall(SYS_getcwd, path, PATH_MAX) > 0 && path[0] == '/';
	return 0;
}

/* num_threads, the 20th field of proc_pid_stat(5): by an open descriptor it can be read in a chroot, too. */
long count_threads(int stat)
{
	char text[1024];
	struct statfs system;
	const char *at = NULL;
	ssize_t length;
	long count = 0;

	if (fstatfs(stat, &system) || (length = pread(stat, text, sizeof text - 1, 0)) < 0)
		return -1;
	text[length] = '\0';
	/* The 2nd is a name in brackets, which may have anything in it. */
	if (system.f_type == PROC_SUPER_MAGIC)
		at = strrchr(text, ')');
	for (unsigned field = 2; at && field < 20; field++)
		at = strchr(at + 1, ' ');
	if (!at) {
		errno = ENODEV; /* somebody has closed it, and opened something else */
		return -1;
	}
	while (*++at >= '0' && *at <= '9')
		count = count * 10 + (*at - '0');
	return count;
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

	/* A file system of another kind, or the /proc of a pid namespace in which this thread has another number. Not by
	 * faccessat(3): that is faccessat2(2), which older seccomp filters refuse. */
	decimal(tid, this_thread());
	if (fstatfs(tasks, &system) || (system.f_type == PROC_SUPER_MAGIC && syscall(SYS_faccessat, tasks, tid, F_OK)))
		why->error = errno;
	else
		why->error = system.f_type == PROC_SUPER_MAGIC ? 0 : ENODEV;
	if (!why->error)
		return tasks;
	close(tasks);
	errno = why->error;
	return -1;
}

long count_tasks(int tasks)
{
	struct statx directory;

	if (syscall(SYS_statx, tasks, "", AT_EMPTY_PATH, STATX_NLINK, &directory))
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
			if (*digit == '.')
				continue; /* itself, and what is above */
			while (*digit >= '0' && *digit <= '9')
				number = number * 10 + (*digit++ - '0');
			if ((result = visit(number, context)))
				return result;
		}
	return length < 0 ? -1 : 0;
}

size_t status_size(size_t group_count)
{
	/* Up to the last field that is compared a status has well under 2 KB, names and sets included; and at most
	 * ten digits and a space for each group. */
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
	size_t length = 0;
	ssize_t got = 0;
	int status;

	if ((status = openat(tasks, task_path(path, tid, "/status"), O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	while (length < size && (got = read(status, text + length, size - length)) > 0)
		length += got;
	if (close(status) || got < 0)
		return -1;
	return (ssize_t)length;
}

/* Does this path, from the folder of the tasks, lead to the directory that is open there? */
static bool leads_to(int tasks, const char *path, int directory)
{
	struct statx wanted, found;

	return !syscall(SYS_statx, directory, "", AT_EMPTY_PATH, STATX_INO, &wanted) &&
	       !syscall(SYS_statx, tasks, path, 0, STATX_INO, &found) && found.stx_ino == wanted.stx_ino &&
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

int observe_main(struct credentials **own, char **status, struct failure *why)
{
	int tasks = open_tasks(why);
	long groups;
	ssize_t length = -1;

	if (tasks < 0)
		return -1;
	groups = getgroups(0, NULL);
	*own = groups < 0 ? NULL : calloc(1, credentials_size(groups));
	*status = groups < 0 ? NULL : calloc(1, status_size(groups) + 1);
	if (*own && *status && !observe_this_thread(*own, groups, 0))
		length = read_status(tasks, this_thread(), *status, status_size(groups));
	if (length < 0) {
		why->error = errno;
		free(*own);
		free(*status);
	}
	close(tasks);
	return length < 0 ? -1 : 0;
}
