/*
 * descriptors.c - open descriptors that would defeat a plan, or that are worth knowing of
 *
 * It only reads; what is closed meanwhile is none.
 */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

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
	if (fstat(survey->root, &root))
		return -1;
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

	if (fstat(descriptor, &found))
		return errno == EBADF ? 0 : -1; /* closed since */
	if (S_ISSOCK(found.st_mode) && !getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) && listens) {
		if (survey->count < survey->room)
			survey->found[survey->count] = descriptor;
		survey->count++;
	}
	return refuse_directory(descriptor, &found, survey);
}

long list_listeners(int root, int *found, size_t room, struct failure *why)
{
	struct survey survey = {.root = root, .found = found, .room = room, .why = why};
	int result = fdwalk(judge_descriptor, &survey);

	if (result < 0)
		*why = (struct failure){.step = STEP_DESCRIPTORS, .error = errno};
	return result ? -1 : (long)survey.count;
}
