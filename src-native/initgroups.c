/*
 * initgroups.c - the groups of an account, as initgroups(3) would set them; nothing is set here
 */
#define _GNU_SOURCE
#include "accounts.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>

/* Solaris before 11.4 lacks it. */
int getgrouplist(const char *, gid_t, gid_t *, int *) __attribute__((weak));

enum { FIRST_COUNT = 64, GROUPS_MAX = 65536 }; /* NGROUPS_MAX of the kernel */

int account_groups(uid_t uid, gid_t primary, gid_t **groups, size_t *count)
{
	char *name;
	int error = 0;
	int found = name_of_user(uid, &name, &error);

	*count = 1;
	*groups = NULL;
	if (found < 0)
		return error;
	if (!getgrouplist) {
		free(name);
		return ENOSYS;
	}
	for (int room = found ? FIRST_COUNT : 1;;) {
		gid_t *larger = realloc(*groups, (size_t)room * sizeof **groups);
		int wanted = room;

		if (!larger) {
			error = ENOMEM;
			break;
		}
		*groups = larger;
		larger[0] = primary;
		if (!found || getgrouplist(name, primary, larger, &wanted) >= 0) {
			*count = found ? (size_t)wanted : 1;
			break;
		}
		if (room > GROUPS_MAX) {
			error = ERANGE;
			break;
		}
		room = wanted > room ? wanted : 2 * room; /* musl does not say how many there are */
	}
	free(name);
	if (error) {
		free(*groups);
		*groups = NULL;
	}
	return error;
}
