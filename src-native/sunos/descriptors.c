/*
 * descriptors.c - open descriptors that would defeat a plan, or that become a finding
 *
 * A descriptor that is closed meanwhile is skipped. fstat(2) may wait for a file system: outside the rehearsing child,
 * whose time is bounded, it is called only for a chroot.
 */
#include "sunos.h"

#include <errno.h>
#include <stdlib.h>
#include <stropts.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The most numbers that fdwalk(3C) may try where there is no /proc: a hundredth of a second. */
enum { MOST_TRIED = 65536 };

/* fdwalk(3C). Without /proc it tries each number up to the hard limit, so it is called only where that is bounded. */
static int walk(int (*visit)(void *, int), void *context, struct failure *why)
{
	struct rlimit limit;
	int result;

	*why = (struct failure){.step = STEP_DESCRIPTORS, .call = "access"};
	if (access("/proc/self/fd", R_OK)) {
		why->error = errno;
		if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_max > MOST_TRIED)
			return -1;
	}
	*why = (struct failure){.step = STEP_DESCRIPTORS};
	result = fdwalk(visit, context);
	if (result && !why->error)
		why->error = errno;
	return result;
}

static int socket_option(int descriptor, int option)
{
	int value = 0;
	socklen_t size = sizeof value;

	return getsockopt(descriptor, SOL_SOCKET, option, &value, &size) ? -1 : value;
}

struct listeners {
	int *found;
	size_t room, count;
};

/* Each of these four is called by fdwalk(3C), which stops at the first result that is not 0, and returns it. */
static int keep_listener(void *context, int descriptor)
{
	struct listeners *listeners = context;

	if (socket_option(descriptor, SO_ACCEPTCONN) <= 0) /* asks no file system */
		return 0;
	if (listeners->count < listeners->room)
		listeners->found[listeners->count] = descriptor;
	listeners->count++;
	return 0;
}

long list_listeners(int *found, size_t room, struct failure *why)
{
	struct listeners listeners = {.found = found, .room = room};

	return walk(keep_listener, &listeners, why) ? -1 : (long)listeners.count;
}

static int count_one(void *context, int descriptor)
{
	(void)descriptor;
	++*(long *)context;
	return 0;
}

long count_descriptors(struct failure *why)
{
	long total = 0;

	return walk(count_one, &total, why) ? -1 : total;
}

struct directories {
	struct stat root;
	struct directory *found;
	size_t room, count;
	struct failure *why;
};

static int fail(struct directories *directories, int descriptor)
{
	*directories->why = (struct failure){.step = STEP_DESCRIPTORS, .error = errno, .item = descriptor, .call = "fstat"};
	return -1;
}

/* An open directory leads out of the new root (fchdir(2), openat(2)). The root itself, opened twice, does not. */
static int keep_directory(void *context, int descriptor)
{
	struct directories *directories = context;
	struct stat found;

	/* closed since, or removed on its NFS server, and leads nowhere */
	if (fstat(descriptor, &found))
		return errno == EBADF || errno == ESTALE ? 0 : fail(directories, descriptor);
	if (!S_ISDIR(found.st_mode) || (found.st_dev == directories->root.st_dev && found.st_ino == directories->root.st_ino))
		return 0;
	if (directories->count < directories->room)
		directories->found[directories->count] = (struct directory){descriptor, found.st_dev, found.st_ino};
	directories->count++;
	return 0;
}

long list_directories(int root, struct directory *found, size_t room, struct failure *why)
{
	struct directories directories = {.found = found, .room = room, .why = why};

	if (fstat(root, &directories.root))
		return fail(&directories, root);
	return walk(keep_directory, &directories, why) ? -1 : (long)directories.count;
}

static int refuse(struct failure *why, int descriptor)
{
	*why = (struct failure){.step = STEP_DIRECTORY, .item = descriptor};
	errno = 0; /* no call has failed */
	return 1;
}

/* For a directory outside, getcwd(2) has no path, or one that leads elsewhere in the new root. Any error counts as
 * outside. */
static bool is_inside(const struct directory *directory)
{
	char path[WALK_PATH_MAX];
	struct stat found;

	return !fchdir(directory->descriptor) && getcwd(path, sizeof path) && !stat(path, &found) &&
	       found.st_dev == directory->device && found.st_ino == directory->inode;
}

int enter_directories(const struct directory *directories, size_t count, struct failure *now)
{
	for (size_t i = 0; i < count; i++) {
		now->step = STEP_DIRECTORY;
		now->item = directories[i].descriptor;
		if (!is_inside(&directories[i]))
			return refuse(now, directories[i].descriptor);
	}
	*now = (struct failure){.step = STEP_CHDIR};
	return chdir("/");
}

static bool is_listed(const struct plan *plan, const struct directory *open)
{
	for (size_t i = 0; i < plan->inside_count; i++)
		if (plan->inside[i].descriptor == open->descriptor && plan->inside[i].device == open->device &&
		    plan->inside[i].inode == open->inode)
			return true;
	return false;
}

int refuse_directories(const struct plan *plan, struct failure *why)
{
	size_t room = plan->inside_count + 1;
	struct directory *open = calloc(room, sizeof *open);
	long count = open ? list_directories(plan->root, open, room, why) : -1;
	int result = count < 0 ? -1 : 0;

	if (!open)
		*why = (struct failure){.step = STEP_MEMORY, .error = errno};
	for (size_t i = 0; !result && i < (size_t)count && i < room; i++)
		if (!is_listed(plan, &open[i]))
			result = refuse(why, open[i].descriptor);
	free(open);
	return result ? -1 : 0;
}

/* ---- for the rehearsing child, and for end.c ---- */

/* Asks no file system. A pipe is a stream here, and so is a terminal. */
int type_of_descriptor(int descriptor)
{
	if (socket_option(descriptor, SO_TYPE) >= 0)
		return S_IFSOCK;
	return isastream(descriptor) == 1 ? S_IFIFO : S_IFREG;
}

struct kept {
	int one, other;
};

static int close_socket_or_pipe(void *context, int descriptor)
{
	const struct kept *keep = context;

	if (descriptor != keep->one && descriptor != keep->other && type_of_descriptor(descriptor) != S_IFREG)
		close(descriptor);
	return 0;
}

int close_sockets_and_pipes(int keep, int keep_too)
{
	struct kept kept = {keep, keep_too};
	struct failure why;

	if (walk(close_socket_or_pipe, &kept, &why))
		for (int descriptor = 0; descriptor < MOST_TRIED; descriptor++)
			close_socket_or_pipe(&kept, descriptor);
	return 0;
}

int type_of_path(const char *path)
{
	struct stat found;

	return stat(path, &found) ? -1 : (int)(found.st_mode & S_IFMT);
}

int may_access(const char *path, int mode)
{
	return access(path, mode); /* by the real ids, which equal the effective ones by now */
}

/* On this system no question is about a descriptor. */
int may_reopen(int descriptor)
{
	(void)descriptor;
	errno = EINVAL;
	return -1;
}
