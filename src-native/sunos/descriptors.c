/*
 * descriptors.c - open descriptors that would defeat a plan, or that are worth knowing of
 *
 * It only reads; what is closed meanwhile is none.
 */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A hundredth of a second of fdwalk(3C) where it has no /proc and tries each number. */
enum { MOST_TRIED = 65536 };

struct survey {
	int root; /* -1: no chroot */
	int *found;
	size_t room, count;
	struct failure *why;
};

/* A directory that is open leads out of the new root (fchdir(2), openat(2)). The root itself, opened twice, does not. */
static int refuse_directory(int descriptor, const struct stat *found, struct survey *survey)
{
	struct stat root;

	if (survey->root < 0 || !S_ISDIR(found->st_mode))
		return 0;
	if (fstat(survey->root, &root)) {
		*survey->why = (struct failure){.step = STEP_FSTAT, .error = errno, .item = survey->root};
		return 1;
	}
	if (root.st_dev == found->st_dev && root.st_ino == found->st_ino)
		return 0;
	*survey->why = (struct failure){.step = STEP_DIRECTORY, .item = descriptor};
	return 1;
}

/* fdwalk(3C): stops at the first answer that is not 0, and returns it. */
static int judge_descriptor(void *context, int descriptor)
{
	struct survey *survey = context;
	struct stat found;
	int listens = 0;
	socklen_t size = sizeof listens;

	if (fstat(descriptor, &found)) {
		/* closed since; or of an NFS server that does not know it any more, and leads nowhere */
		if (errno == EBADF || errno == ESTALE)
			return 0;
		*survey->why = (struct failure){.step = STEP_FSTAT, .error = errno, .item = descriptor};
		return 1;
	}
	if (S_ISSOCK(found.st_mode) && !getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) && listens) {
		if (survey->count < survey->room)
			survey->found[survey->count] = descriptor;
		survey->count++;
	}
	return refuse_directory(descriptor, &found, survey);
}

/* fdwalk(3C) tries each number up to the hard limit where there is no /proc, and that may be any number. */
static int is_bounded(struct failure *why)
{
	struct rlimit limit;

	*why = (struct failure){.step = STEP_PROC};
	if (!access("/proc/self/fd", R_OK))
		return 0;
	why->error = errno;
	return !getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_max <= MOST_TRIED ? 0 : -1;
}

long list_listeners(int root, int *found, size_t room, struct failure *why)
{
	struct survey survey = {.root = root, .found = found, .room = room, .why = why};
	int result;

	if (is_bounded(why))
		return -1;
	result = fdwalk(judge_descriptor, &survey);
	if (result < 0)
		*why = (struct failure){.step = STEP_DESCRIPTORS, .error = errno};
	return result ? -1 : (long)survey.count;
}
