/*
 * hazards.c - descriptors of this process that would defeat a plan, or that are worth knowing of
 *
 * Asked early, for a good error, and again while every thread is parked, when nobody can open another. It only reads;
 * what is closed meanwhile is none.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NO_POLLER = -1, NOT_SAID = -2, REFUSED = -3, RING_READS = 10 };

static bool starts(const char *text, const char *head)
{
	return !strncmp(text, head, strlen(head));
}

/* Does this line of an io_uring's fdinfo speak for a thread of the kernel, or for credentials that are kept in it? */
static long judge_line(const char *line, long so_far)
{
	if (starts(line, "Personalities:"))
		return REFUSED;
	if (starts(line, "SqThread:\t") && so_far == NOT_SAID)
		return starts(line, "SqThread:\t-1") ? NO_POLLER : REFUSED;
	return so_far;
}

/* The text can be long, and what matters is at its end. */
static long judge_ring(int info)
{
	char text[1024], line[32];
	size_t at = 0;
	long result = NOT_SAID;
	ssize_t length;

	while ((length = read(info, text, sizeof text)) > 0)
		for (ssize_t i = 0; i < length; i++) {
			if (text[i] != '\n' && at < sizeof line - 1) {
				line[at++] = text[i];
			} else if (text[i] == '\n') {
				line[at] = '\0';
				result = judge_line(line, result);
				at = 0;
			}
		}
	return length < 0 ? NOT_SAID : result;
}

/* A poller (io_uring_setup(2), IORING_SETUP_SQPOLL) keeps the credentials of whoever made the ring, and so do those that
 * are registered in it (io_uring_register(2), IORING_REGISTER_PERSONALITY), as long as the kernel tells of them. */
static int ring_kind(int tasks, int descriptor, enum descriptor_kind *kind)
{
	static const char head[] = "../fdinfo/";
	char path[sizeof head + DECIMAL_SIZE];
	long said = NOT_SAID;

	memcpy(path, head, sizeof head);
	decimal(path + sizeof head - 1, descriptor);
	/* While the ring is being used the kernel leaves out what takes its lock, and before Linux 6.16 it even says that there
	 * is no thread: what is true is what it says in most cases, so a refusal in any of them decides. */
	for (unsigned reads = 0; reads < (said == NOT_SAID ? 100 : RING_READS) && said != REFUSED; reads++) {
		int info = openat(tasks, path, O_RDONLY | O_CLOEXEC);
		long once;

		if (info < 0)
			return -1;
		once = judge_ring(info);
		said = once == NOT_SAID ? said : once;
		close(info);
	}
	*kind = said == NO_POLLER ? DESCRIPTOR_PLAIN : DESCRIPTOR_RING;
	return 0;
}

/* socket(7); what such a socket was opened for it stays able to do: raw(7), packet(7), netlink(7). */
static enum descriptor_kind socket_kind(int descriptor)
{
	static const int options[] = {SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE, SO_PROTOCOL};
	int answers[4];

	for (size_t i = 0; i < 4; i++) {
		socklen_t size = sizeof answers[i];

		if (getsockopt(descriptor, SOL_SOCKET, options[i], &answers[i], &size))
			return DESCRIPTOR_PLAIN;
	}
	if (answers[0])
		return DESCRIPTOR_LISTENS;
	if (answers[1] == AF_PACKET)
		return DESCRIPTOR_PACKET;
	if (answers[1] == AF_NETLINK)
		/* getaddrinfo(3) opens one of this protocol for an instant; it takes no privilege */
		return answers[3] == NETLINK_ROUTE ? DESCRIPTOR_PLAIN : DESCRIPTOR_NETLINK;
	return answers[2] == SOCK_RAW ? DESCRIPTOR_RAW : DESCRIPTOR_PLAIN;
}

/* A directory that is open outside the new root leads back out of it (openat(2), fchdir(2)). */
static int file_kind(int descriptor, const char *path, const char *root, enum descriptor_kind *kind)
{
	struct statx found;
	size_t length = strlen(root);

	if (syscall(SYS_statx, descriptor, "", AT_EMPTY_PATH, STATX_TYPE, &found))
		return -1;
	/* By its path, for which nothing has to be changed. What only looks as if it were inside the rehearsing child finds. */
	if (S_ISDIR(found.stx_mode) && strcmp(root, "/") &&
	    (strncmp(path, root, length) || (path[length] != '/' && path[length] != '\0')))
		*kind = DESCRIPTOR_DIRECTORY;
	return 0;
}

static int read_link(int folder, int descriptor, char path[PATH_MAX])
{
	char name[DECIMAL_SIZE];
	ssize_t length;

	decimal(name, descriptor);
	if ((length = readlinkat(folder, name, path, PATH_MAX - 1)) < 0)
		return -1;
	path[length] = '\0';
	return 0;
}

struct survey {
	int tasks, folder;
	const char *root; /* NULL: no chroot */
	int (*visit)(int descriptor, enum descriptor_kind kind, void *context);
	void *context;
};

static int judge_descriptor(int descriptor, void *context)
{
	const struct survey *survey = context;
	enum descriptor_kind kind = DESCRIPTOR_PLAIN;
	char path[PATH_MAX];
	int error;

	/* our own two; they are closed when we are through */
	if (descriptor == survey->tasks || descriptor == survey->folder)
		return 0;
	error = read_link(survey->folder, descriptor, path);
	if (!error && starts(path, "socket:"))
		kind = socket_kind(descriptor);
	else if (!error && !strcmp(path, "anon_inode:[io_uring]"))
		error = ring_kind(survey->tasks, descriptor, &kind);
	else if (!error && path[0] == '/' && survey->root)
		error = file_kind(descriptor, path, survey->root, &kind);
	if (error)
		return errno == ENOENT || errno == EBADF ? 0 : -1; /* closed since */
	return kind == DESCRIPTOR_PLAIN ? 0 : survey->visit(descriptor, kind, survey->context);
}

int each_descriptor(int tasks, int root, int (*visit)(int descriptor, enum descriptor_kind kind, void *context),
                    void *context, struct failure *why)
{
	char path[PATH_MAX];
	struct survey survey = {.tasks = tasks, .root = root < 0 ? NULL : path, .visit = visit, .context = context};
	int result = -1;

	survey.folder = openat(tasks, "../fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (survey.folder >= 0 && (root < 0 || !read_link(survey.folder, root, path)))
		result = each_number(survey.folder, judge_descriptor, &survey);
	if (result < 0)
		*why = (struct failure){.step = STEP_DESCRIPTORS, .error = errno};
	if (survey.folder >= 0)
		close(survey.folder);
	return result;
}

/* each_descriptor(): stop at the first by which the plan would be undone. */
static int refuse_descriptor(int descriptor, enum descriptor_kind kind, void *context)
{
	struct failure *why = context;

	if (kind != DESCRIPTOR_RING && kind != DESCRIPTOR_DIRECTORY)
		return 0;
	*why = (struct failure){
		.step = kind == DESCRIPTOR_RING ? STEP_RING : STEP_DIRECTORY,
		.item = descriptor,
	};
	return 1;
}

int refuse_descriptors(const struct plan *plan, int tasks, struct failure *why)
{
	int root = (plan->steps & (1u << STEP_CHROOT)) ? plan->root : -1;

	return each_descriptor(tasks, root, refuse_descriptor, why, why) ? -1 : 0;
}

struct list {
	struct descriptor *found;
	size_t room, count;
	struct failure *why;
};

static int list_descriptor(int descriptor, enum descriptor_kind kind, void *context)
{
	struct list *list = context;

	if (refuse_descriptor(descriptor, kind, list->why))
		return 1;
	if (list->count < list->room)
		list->found[list->count] = (struct descriptor){descriptor, kind};
	list->count++;
	return 0;
}

long list_descriptors(int root, struct descriptor *found, size_t room, struct failure *why)
{
	struct list list = {.found = found, .room = room, .why = why};
	int tasks = open_tasks(why);
	int result;

	if (tasks < 0)
		return -1;
	result = each_descriptor(tasks, root, list_descriptor, &list, why);
	close(tasks);
	return result ? -1 : (long)list.count;
}
