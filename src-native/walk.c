/*
 * walk.c - a path, component by component
 *
 * open(2) of a whole path follows whatever links there are. Here each component is opened below the one before, links are
 * read and followed by hand, and every folder in which a component lies can be judged: a process that can exchange a component
 * decides where the path leads. System calls only; the caller gives the memory.
 */
#define _GNU_SOURCE
#include "shared.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
	LINKS_MAX = 40, /* path_resolution(7) */
	NAME_SIZE = 258 /* NAME_MAX, one more, and the end */
};

/* Cut the first component off walk->rest. false: the path has ended. */
static bool next_component(struct walk *walk, char name[NAME_SIZE], bool *last)
{
	const char *from = walk->rest + strspn(walk->rest, "/");
	size_t length = strcspn(from, "/");
	size_t kept = length < NAME_SIZE ? length : NAME_SIZE - 1; /* too long for any file system, which will say so */

	if (length == 0)
		return false;
	memcpy(name, from, kept);
	name[kept] = '\0';
	from += length;
	*last = from[strspn(from, "/")] == '\0';
	memmove(walk->rest, from, strlen(from) + 1);
	return true;
}

/* walk->at with one more component, or with one less. -1: it would become too long. */
static int push(struct walk *walk, const char *name)
{
	size_t length = strlen(name);

	if (walk->length + 1 + length >= sizeof walk->at) {
		errno = ENAMETOOLONG;
		return -1;
	}
	walk->at[walk->length] = '/';
	memcpy(walk->at + walk->length + 1, name, length + 1);
	walk->length += 1 + length;
	return 0;
}

static void pop(struct walk *walk)
{
	while (walk->length > 0 && walk->at[--walk->length] != '/')
		;
	walk->at[walk->length] = '\0';
}

enum { NO_LINK = 1 };

/* The link's text takes its place in front of the rest. 0, NO_LINK, or -1 with errno. */
static int follow(struct walk *walk, int folder, const char *name)
{
	char text[WALK_PATH_MAX];
	ssize_t length = readlinkat(folder, name, text, sizeof text - 1);
	size_t rest = strlen(walk->rest);

	if (length < 0)
		return errno == EINVAL ? NO_LINK : -1;
	if (is_on_proc(folder)) {
		walk->on_proc = true;
		errno = ELOOP;
		return -1;
	}
	if ((size_t)length + rest + 1 > sizeof walk->rest) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memmove(walk->rest + length, walk->rest, rest + 1);
	memcpy(walk->rest, text, (size_t)length);
	if (length == 0) {
		errno = ENOENT;
		return -1;
	}
	return 0;
}

/* One component further: *folder is replaced. */
static enum walked enter(struct walk *walk, int *folder, const char *name, bool last, int *links)
{
	int next = open_folder(*folder, name);
	int link;

	if (next < 0) {
		if (errno != ENOTDIR && errno != ELOOP)
			return WALK_FAILED;
		if ((link = follow(walk, *folder, name)) < 0)
			return WALK_FAILED;
		if (link == NO_LINK) {
			errno = ENOTDIR;
			return last ? WALKED_TO_FILE : WALK_FAILED;
		}
		if (++*links > LINKS_MAX) {
			errno = ELOOP;
			return WALK_FAILED;
		}
		pop(walk);
		if (walk->rest[0] != '/')
			return WALKED_TO_FOLDER;
		if ((next = open_folder(AT_FDCWD, "/")) < 0)
			return WALK_FAILED;
		walk->length = 0;
		walk->at[0] = '\0';
	} else if (!strcmp(name, "..")) {
		pop(walk); /* the two dots, */
		pop(walk); /* and what they take back */
	}
	close(*folder);
	*folder = next;
	return WALKED_TO_FOLDER;
}

enum walked walk_path(struct walk *walk, const char *path, int *reached)
{
	char name[NAME_SIZE];
	enum walked how = WALKED_TO_FOLDER;
	bool last;
	int links = 0;
	int folder;

	walk->on_proc = false;
	walk->length = 0;
	walk->at[0] = '\0';
	if (strlen(path) >= sizeof walk->rest) {
		errno = ENAMETOOLONG;
		return WALK_FAILED;
	}
	memcpy(walk->rest, path, strlen(path) + 1);
	if ((folder = open_folder(AT_FDCWD, "/")) < 0)
		return WALK_FAILED;
	while (how == WALKED_TO_FOLDER && next_component(walk, name, &last)) {
		if (!strcmp(name, "."))
			continue;
		if (push(walk, name))
			how = WALK_FAILED;
		else if (strcmp(name, "..") && walk->judge && walk->judge(walk, folder, name, last))
			how = WALK_STOPPED;
		else
			how = enter(walk, &folder, name, last, &links);
	}
	if (how == WALK_FAILED || how == WALK_STOPPED) {
		int error = errno;

		close(folder);
		errno = error;
	} else {
		*reached = folder;
	}
	return how;
}
