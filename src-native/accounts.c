/*
 * accounts.c - names to ids, through the system's name service (getpwnam_r(3), getgrnam_r(3))
 *
 * "There is no such account" and "the name service failed" are different answers: the first is the caller's
 * mistake, the second must never be taken for it. Both functions return 0 in the first case and an errno value in
 * the second. On Solaris and illumos nscd answers 0 for a directory that is down as well: there the two cannot be told
 * apart. The buffer grows for as long as ERANGE asks for it: a group can have thousands of members.
 */
#define _GNU_SOURCE
#include "accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 4096, LARGEST_SIZE = 64 * 1024 * 1024 };

/* The next larger buffer, or NULL with *error set. */
static char *grow(char *buffer, size_t *size, int *error)
{
	size_t wanted = *size ? *size * 4 : FIRST_SIZE;
	char *larger = wanted > LARGEST_SIZE ? NULL : realloc(buffer, wanted);

	if (!larger) {
		free(buffer);
		*error = wanted > LARGEST_SIZE ? ERANGE : ENOMEM;
		return NULL;
	}
	*size = wanted;
	return larger;
}

static int find_user(const char *name, uid_t id, struct passwd *user, char **buffer, int *error)
{
	struct passwd *found = NULL;
	size_t size = 0;

	*buffer = NULL;
	do {
		if (!(*buffer = grow(*buffer, &size, error)))
			return -1;
		do
			*error = name ? getpwnam_r(name, user, *buffer, size, &found)
			              : getpwuid_r(id, user, *buffer, size, &found);
		while (*error == EINTR);
	} while (*error == ERANGE);
	return *error ? -1 : found != NULL;
}

int user_by_name(const char *name, uid_t *uid, gid_t *gid, int *error)
{
	struct passwd user;
	char *buffer;
	int found = find_user(name, 0, &user, &buffer, error);

	if (found == 1) {
		*uid = user.pw_uid;
		*gid = user.pw_gid;
	}
	free(buffer);
	return found;
}

int user_by_id(uid_t uid, gid_t *gid, int *error)
{
	struct passwd user;
	char *buffer;
	int found = find_user(NULL, uid, &user, &buffer, error);

	if (found == 1)
		*gid = user.pw_gid;
	free(buffer);
	return found;
}

int name_of_user(uid_t uid, char **name, int *error)
{
	struct passwd user;
	char *buffer;
	int found = find_user(NULL, uid, &user, &buffer, error);

	*name = found == 1 ? strdup(user.pw_name) : NULL;
	free(buffer);
	if (found == 1 && !*name) {
		*error = ENOMEM;
		return -1;
	}
	return found;
}

static int find_group(const char *name, gid_t id, struct group *group, char **buffer, int *error)
{
	struct group *found = NULL;
	size_t size = 0;

	*buffer = NULL;
	do {
		if (!(*buffer = grow(*buffer, &size, error)))
			return -1;
		do
			*error = name ? getgrnam_r(name, group, *buffer, size, &found)
			              : getgrgid_r(id, group, *buffer, size, &found);
		while (*error == EINTR);
	} while (*error == ERANGE);
	return *error ? -1 : found != NULL;
}

int group_by_name(const char *name, gid_t *gid, int *error)
{
	struct group group;
	char *buffer;
	int found = find_group(name, 0, &group, &buffer, error);

	if (found == 1)
		*gid = group.gr_gid;
	free(buffer);
	return found;
}

int name_of_group(gid_t gid, char **name, int *error)
{
	struct group group;
	char *buffer;
	int found = find_group(NULL, gid, &group, &buffer, error);

	*name = found == 1 ? strdup(group.gr_name) : NULL;
	free(buffer);
	if (found == 1 && !*name) {
		*error = ENOMEM;
		return -1;
	}
	return found;
}
