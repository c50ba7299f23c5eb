/*
 * walk.c - a path, component by component
 *
 * open(2) of a whole path follows every link. Here each component is opened below the one before, links are read and
 * followed by hand, and the folder of every component can be judged: a process that can exchange a component decides
 * where the path leads. System calls only; the caller gives the memory.
 */
#define _GNU_SOURCE
#include "shared.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
	LINKS_MAX = 40, /* path_resolution(7) */
	NAME_SIZE = 258 /* NAME_MAX, one more, and the NUL */
};

void begin_walk(struct walk *walk)
{
	walk->depth = -1;
	walk->serial = 0;
	walk->at[0] = '\0';
}

void end_walk(struct walk *walk)
{
	while (walk->depth >= 0)
		close(walk->folders[walk->depth--]);
}

/* Cut the first component off walk->rest. false: the path has ended. */
static bool next_component(struct walk *walk, char name[NAME_SIZE], bool *last)
{
	const char *from = walk->rest + strspn(walk->rest, "/");
	size_t length = strcspn(from, "/");
	size_t kept = length < NAME_SIZE ? length : NAME_SIZE - 1; /* too long for any file system, and refused by it */

	if (length == 0)
		return false;
	memcpy(name, from, kept);
	name[kept] = '\0';
	from += length;
	*last = from[strspn(from, "/")] == '\0';
	memmove(walk->rest, from, strlen(from) + 1);
	return true;
}

/* Append a component to the text of the present folder. -1: it would become too long. */
static int write_component(struct walk *walk, const char *name)
{
	size_t end = walk->ends[walk->depth], length = strlen(name);

	if (end + 1 + length >= sizeof walk->at) {
		errno = ENAMETOOLONG;
		return -1;
	}
	walk->at[end] = '/';
	memcpy(walk->at + end + 1, name, length + 1);
	return 0;
}

/* Make this folder the present one. */
static int push(struct walk *walk, int folder)
{
	if (folder < 0)
		return -1;
	if (walk->depth == WALK_DEPTH_MAX - 1) {
		close(folder);
		errno = ENAMETOOLONG;
		return -1;
	}
	walk->folders[++walk->depth] = folder;
	walk->serials[walk->depth] = ++walk->serial;
	walk->ends[walk->depth] = strlen(walk->at);
	return 0;
}

/* Go back to a folder above; the root has none above. */
static void pop_to(struct walk *walk, int depth)
{
	while (walk->depth > depth && walk->depth > 0)
		close(walk->folders[walk->depth--]);
	walk->at[walk->ends[walk->depth]] = '\0';
}

enum { NO_LINK = 1 };

/* Put the text of the link in front of the rest. 0, NO_LINK, or -1 with errno. */
static int follow(struct walk *walk, const char *name)
{
	char text[WALK_PATH_MAX];
	int folder = walk->folders[walk->depth];
	ssize_t length = readlinkat(folder, name, text, sizeof text - 1);
	size_t rest = strlen(walk->rest);
	int proc;

	if (length < 0)
		return errno == EINVAL ? NO_LINK : -1;
	if ((proc = is_on_proc(folder))) {
		walk->on_proc = proc > 0;
		if (proc > 0)
			errno = ELOOP;
		return -1;
	}
	if ((size_t)length + rest + 1 > sizeof walk->rest) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memmove(walk->rest + length, walk->rest, rest + 1);
	memcpy(walk->rest, text, (size_t)length);
	pop_to(walk, text[0] == '/' ? 0 : walk->depth);
	return 0;
}

/* One component further. */
static enum walked enter(struct walk *walk, const char *name, bool last, int *links)
{
	int folder = open_folder(walk->folders[walk->depth], name);
	int link;

	if (folder >= 0)
		return push(walk, folder) ? WALK_FAILED : WALKED_TO_FOLDER;
	if (errno != ENOTDIR && errno != ELOOP)
		return WALK_FAILED;
	if ((link = follow(walk, name)) < 0)
		return WALK_FAILED;
	if (link == NO_LINK) {
		errno = ENOTDIR;
		return last ? WALKED_TO_FILE : WALK_FAILED;
	}
	if (++*links > LINKS_MAX) {
		errno = ELOOP;
		return WALK_FAILED;
	}
	return WALKED_TO_FOLDER;
}

/* Where the path parts from the open folders, which have no links, the walk begins: a judge that would stop before did
 * so the first time. The last component is walked again, because it may count now and did not then. */
static void begin_where_they_part(struct walk *walk, const char *path)
{
	int depth = 0;
	const char *rest = path;

	for (; depth < walk->depth; depth++) {
		const char *wanted = rest + strspn(rest, "/");
		const char *open = walk->at + walk->ends[depth] + 1;
		size_t length = strcspn(wanted, "/");

		if (length != walk->ends[depth + 1] - walk->ends[depth] - 1 || memcmp(wanted, open, length) ||
		    wanted[length + strspn(wanted + length, "/")] == '\0')
			break;
		rest = wanted + length;
	}
	pop_to(walk, depth);
	memmove(walk->rest, rest, strlen(rest) + 1);
}

enum walked walk_path(struct walk *walk, const char *path)
{
	char name[NAME_SIZE];
	enum walked how = WALKED_TO_FOLDER;
	bool last;
	int links = 0;

	walk->on_proc = false;
	if (strlen(path) >= sizeof walk->rest) {
		errno = ENAMETOOLONG;
		return WALK_FAILED;
	}
	if (walk->depth < 0 && push(walk, open_folder(AT_FDCWD, "/")))
		return WALK_FAILED;
	begin_where_they_part(walk, path);
	while (how == WALKED_TO_FOLDER && next_component(walk, name, &last)) {
		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, "..")) {
			pop_to(walk, walk->depth - 1);
			continue;
		}
		if (write_component(walk, name))
			how = WALK_FAILED;
		else if (walk->judge && walk->judge(walk, name, last))
			how = WALK_STOPPED;
		else
			how = enter(walk, name, last, &links);
	}
	return how;
}
