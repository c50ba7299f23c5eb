/*
 * descriptors.c - open descriptors that would defeat a plan, or that become a finding
 *
 * Read early, for a good error, and again while every thread is parked, when no other can be opened. A descriptor that
 * is closed meanwhile is skipped. No call that the server makes here waits for a file system; the rehearsing child may
 * wait, because its time is bounded.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { NO_POLLER = -1, NOT_SAID = -2, REFUSED = -3, RING_READS = 10, NUMBERS_MAX = 1 << 20 };

static bool starts(const char *text, const char *head)
{
	return !strncmp(text, head, strlen(head));
}

/* Does this line of an io_uring's fdinfo show a poller, or credentials that are registered in the ring? */
static long judge_line(const char *line, long so_far)
{
	if (starts(line, "Personalities:"))
		return REFUSED;
	if (starts(line, "SqThread:\t") && so_far == NOT_SAID)
		return starts(line, "SqThread:\t-1") ? NO_POLLER : REFUSED;
	return so_far;
}

/* Read in pieces: the text can be long, and the lines that matter are at its end. */
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

/* A poller (io_uring_setup(2), IORING_SETUP_SQPOLL) keeps the credentials of the thread that made the ring. Registered
 * credentials (io_uring_register(2), IORING_REGISTER_PERSONALITY) stay usable by all. fdinfo shows both. */
static int ring_kind(int tasks, int descriptor, enum descriptor_kind *kind)
{
	static const char head[] = "../fdinfo/";
	char path[sizeof head + DECIMAL_SIZE];
	long said = NOT_SAID;

	memcpy(path, head, sizeof head);
	decimal(path + sizeof head - 1, descriptor);
	/* A busy ring omits these lines or, before Linux 6.16, reports no thread. Read repeatedly; any refusal decides. */
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

/* The path of a Unix socket's name (unix(7)); '' for one without a name, or an abstract one. */
static void name_of(const struct sockaddr_un *address, socklen_t size, char name[109])
{
	size_t length = size > offsetof(struct sockaddr_un, sun_path) ? size - offsetof(struct sockaddr_un, sun_path) : 0;

	length = length < 108 ? length : 108;
	memcpy(name, address->sun_path, length);
	name[length] = '\0';
}

static enum descriptor_kind judge_unix(struct descriptor *found, bool listens)
{
	struct sockaddr_un address;
	socklen_t size = sizeof address;
	int failed = listens ? getsockname(found->number, (struct sockaddr *)&address, &size)
	                     : getpeername(found->number, (struct sockaddr *)&address, &size);

	if (!failed)
		name_of(&address, size, found->name);
	return listens ? DESCRIPTOR_LISTENS : failed || !found->name[0] ? DESCRIPTOR_PLAIN : DESCRIPTOR_PEER;
}

static bool is_bound(int descriptor)
{
	struct sockaddr_in6 address = {0}; /* its port has the offset of the port in sockaddr_in */
	socklen_t size = sizeof address;

	return !getsockname(descriptor, (struct sockaddr *)&address, &size) && address.sin6_port != 0;
}

/* A socket keeps the access it was opened with: socket(7), raw(7), packet(7), netlink(7), unix(7). */
static enum descriptor_kind judge_socket(struct descriptor *found)
{
	static const int options[] = {SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE, SO_PROTOCOL, SO_REUSEPORT};
	int answers[5] = {0};

	for (size_t i = 0; i < 5; i++) {
		socklen_t size = sizeof answers[i];

		if (getsockopt(found->number, SOL_SOCKET, options[i], &answers[i], &size) && options[i] != SO_REUSEPORT)
			return DESCRIPTOR_PLAIN;
	}
	found->shares_port = answers[0] && answers[4];
	if (answers[1] == AF_UNIX)
		return judge_unix(found, answers[0]);
	if (answers[0])
		return DESCRIPTOR_LISTENS;
	if (answers[1] == AF_PACKET)
		return DESCRIPTOR_PACKET;
	if (answers[1] == AF_NETLINK)
		/* getaddrinfo(3) opens one of this protocol for an instant; it needs no privilege */
		return answers[3] == NETLINK_ROUTE ? DESCRIPTOR_PLAIN : DESCRIPTOR_NETLINK;
	if (answers[2] == SOCK_DGRAM)
		return is_bound(found->number) ? DESCRIPTOR_DATAGRAM : DESCRIPTOR_PLAIN;
	return answers[2] == SOCK_RAW ? DESCRIPTOR_RAW : DESCRIPTOR_PLAIN;
}

int type_of_descriptor(int descriptor)
{
	struct statx found;

	return describe(descriptor, STATX_TYPE, &found) ? -1 : found.stx_mode & S_IFMT;
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

/* Not O_PATH, which neither reads nor writes, nor a removed file, which has no name to be opened by. */
static bool judge_file(struct descriptor *found)
{
	struct statx file;
	long flags = syscall(SYS_fcntl, found->number, F_GETFL);

	if (flags < 0 || flags & O_PATH || describe(found->number, STATX_TYPE | STATX_NLINK, &file) || file.stx_nlink == 0)
		return false;
	found->writable = (flags & O_ACCMODE) != O_RDONLY;
	return S_ISREG(file.stx_mode) || S_ISCHR(file.stx_mode) || S_ISBLK(file.stx_mode);
}

/* Its link, and whether it is an io_uring that matters. No file or socket is asked. 0, or -1 with errno. */
static int look_for_ring(int tasks, int folder, struct descriptor *found, char path[PATH_MAX])
{
	if (read_link(folder, found->number, path))
		return -1;
	return strcmp(path, "anon_inode:[io_uring]") ? 0 : ring_kind(tasks, found->number, &found->kind);
}

/* 0, or -1 with errno. */
static int judge_descriptor(int tasks, int folder, int descriptor, struct descriptor *found)
{
	char path[PATH_MAX];

	*found = (struct descriptor){.number = descriptor, .kind = DESCRIPTOR_PLAIN};
	if (look_for_ring(tasks, folder, found, path))
		return -1;
	if (starts(path, "socket:"))
		found->kind = judge_socket(found);
	else if (path[0] == '/' && judge_file(found))
		found->kind = DESCRIPTOR_FILE;
	return 0;
}

struct survey {
	int tasks, folder; /* the two descriptors that the survey itself opens */
	const struct plan *plan;
	struct descriptor *found;
	size_t room, count;
	struct directory *inside;
	struct failure *why;
};

/* Call visit() for each descriptor; it must skip those two (is_ours()). As each_number(). */
static int each_descriptor(struct survey *survey, int (*visit)(int descriptor, void *context))
{
	int result;

	survey->folder = openat(survey->tasks, "../fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (survey->folder < 0)
		return -1;
	result = each_number(survey->folder, visit, survey);
	close(survey->folder);
	return result;
}

static bool is_ours(const struct survey *survey, int descriptor)
{
	return descriptor == survey->tasks || descriptor == survey->folder;
}

static bool has_gone(void)
{
	return errno == ENOENT || errno == EBADF;
}

static int refused_at(struct survey *survey, enum step step, int descriptor)
{
	*survey->why = (struct failure){.step = step, .item = descriptor};
	return 1;
}

static int list_descriptor(int descriptor, void *context)
{
	struct survey *survey = context;
	struct descriptor found;

	if (is_ours(survey, descriptor))
		return 0;
	if (judge_descriptor(survey->tasks, survey->folder, descriptor, &found))
		return has_gone() ? 0 : -1;
	if (found.kind == DESCRIPTOR_RING)
		return refused_at(survey, STEP_RING, descriptor);
	if (found.kind == DESCRIPTOR_PLAIN)
		return 0;
	if (survey->count < survey->room)
		survey->found[survey->count] = found;
	survey->count++;
	return 0;
}

long list_descriptors(struct descriptor *found, size_t room, struct failure *why)
{
	struct survey survey = {.found = found, .room = room, .why = why};
	int result;

	if ((survey.tasks = open_tasks(why)) < 0)
		return -1;
	if ((result = each_descriptor(&survey, list_descriptor)) < 0)
		*why = (struct failure){.step = STEP_DESCRIPTORS, .error = errno};
	close(survey.tasks);
	return result ? -1 : (long)survey.count;
}

/* ---- the chroot: an open directory outside the new root leads back out of it (openat(2), fchdir(2)) ---- */

/* 0: it is a directory, and *which says which. 1: it is not a directory, or has been closed. -1 with errno. */
static int which_directory(int tasks, int descriptor, struct directory *which)
{
	static const char head[] = "../fdinfo/";
	char path[sizeof head + DECIMAL_SIZE], text[512];
	struct statx found;
	ssize_t length;

	if (describe(descriptor, STATX_TYPE | STATX_INO, &found))
		return has_gone() ? 1 : -1;
	if (!S_ISDIR(found.stx_mode))
		return 1;
	memcpy(path, head, sizeof head);
	decimal(path + sizeof head - 1, descriptor);
	if ((length = read_file(tasks, path, text, sizeof text)) < 0)
		return has_gone() ? 1 : -1;
	*which = (struct directory){
		.descriptor = descriptor,
		.device_major = found.stx_dev_major,
		.device_minor = found.stx_dev_minor,
		.inode = found.stx_ino,
	};
	if (number_in((struct text){text, (size_t)length}, "mnt_id:", 10, &which->mount))
		return 0;
	errno = ENODATA;
	return -1;
}

/* In the rehearsing child, inside the new root: a directory is outside if getcwd(2) has no path to it from the root.
 * Climbing ".." would not tell: a bind mount of the new root looks inside and leads out. */
static int list_if_inside(int descriptor, void *context)
{
	struct survey *survey = context;
	struct directory which;
	char path[PATH_MAX];
	long length = 0;
	int result;

	if (is_ours(survey, descriptor))
		return 0;
	if ((result = which_directory(survey->tasks, descriptor, &which)))
		return result < 0 ? -1 : 0;
	survey->why->item = descriptor;
	survey->why->call = "getcwd"; /* in case a filter kills the child here */
	if (!syscall(SYS_fchdir, descriptor) && (length = syscall(SYS_getcwd, path, sizeof path)) < 0 && errno != ENOENT)
		return -1; /* getcwd() did not tell; ENOENT does: a removed directory */
	survey->why->call = NULL;
	if (length <= 0 || path[0] != '/' || survey->count == survey->room) {
		errno = 0; /* no call has failed: this is the answer */
		return 1;
	}
	survey->inside[survey->count++] = which;
	return 0;
}

int list_inside(int tasks, struct directory *inside, size_t room, size_t *count, struct failure *now)
{
	struct survey survey = {.tasks = tasks, .inside = inside, .room = room, .why = now};

	now->step = STEP_DIRECTORY;
	if (each_descriptor(&survey, list_if_inside))
		return -1;
	*count = survey.count;
	return 0;
}

static int count_one(int descriptor, void *context)
{
	(void)descriptor;
	++*(long *)context;
	return 0;
}

long count_descriptors(int tasks)
{
	long count = 0;
	int folder = openat(tasks, "../fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = folder < 0 ? -1 : each_number(folder, count_one, &count);

	if (folder >= 0)
		close(folder);
	return result ? -1 : count;
}

static bool is_same(const struct directory *a, const struct directory *b)
{
	return a->descriptor == b->descriptor && a->device_major == b->device_major && a->device_minor == b->device_minor &&
	       a->inode == b->inode && a->mount == b->mount;
}

/* While parked: no file system is asked any more, only the child's list. */
static int refuse_unless_inside(int descriptor, struct survey *survey)
{
	const struct plan *plan = survey->plan;
	struct directory which;
	int result = which_directory(survey->tasks, descriptor, &which);

	if (result)
		return result < 0 ? -1 : 0;
	for (size_t i = 0; i < plan->inside_count; i++)
		if (is_same(&plan->inside[i], &which))
			return 0;
	return refused_at(survey, STEP_DIRECTORY, descriptor);
}

/* Another process that has the same socket open may hold its lock for ever, so sockets are not asked here. */
static int refuse_descriptor(int descriptor, void *context)
{
	struct survey *survey = context;
	struct descriptor found = {.number = descriptor, .kind = DESCRIPTOR_PLAIN};
	char path[PATH_MAX];

	if (is_ours(survey, descriptor))
		return 0;
	if (look_for_ring(survey->tasks, survey->folder, &found, path))
		return has_gone() ? 0 : -1;
	if (found.kind == DESCRIPTOR_RING)
		return refused_at(survey, STEP_RING, descriptor);
	return has_step(survey->plan->steps, STEP_CHROOT) ? refuse_unless_inside(descriptor, survey) : 0;
}

int refuse_descriptors(const struct plan *plan, int tasks, struct failure *why)
{
	struct survey survey = {.tasks = tasks, .plan = plan, .why = why};
	int result = each_descriptor(&survey, refuse_descriptor);

	if (result < 0)
		*why = (struct failure){.step = STEP_DESCRIPTORS, .error = errno};
	return result ? -1 : 0;
}

/* ---- for child.c, end.c and questions.c ---- */

struct closing {
	int folder, keep, keep_too;
};

static int close_if_it_listens(int descriptor, void *context)
{
	const struct closing *closing = context;
	int type;

	if (descriptor == closing->folder || descriptor == closing->keep || descriptor == closing->keep_too)
		return 0;
	type = type_of_descriptor(descriptor);
	if (type == S_IFSOCK || type == S_IFIFO)
		close(descriptor);
	return 0;
}

int close_sockets_and_pipes(int keep, int keep_too)
{
	struct closing closing = {open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), keep, keep_too};
	struct rlimit limit;

	if (closing.folder >= 0) {
		int result = each_number(closing.folder, close_if_it_listens, &closing);

		close(closing.folder);
		return result;
	}
	/* in a chroot without /proc */
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -1;
	for (int descriptor = 0; descriptor < (int)(limit.rlim_cur < NUMBERS_MAX ? limit.rlim_cur : NUMBERS_MAX); descriptor++)
		close_if_it_listens(descriptor, &closing);
	return 0;
}

int type_of_path(const char *path)
{
	struct statx found;

	return syscall(SYS_statx, AT_FDCWD, path, 0, STATX_TYPE, &found) ? -1 : found.stx_mode & S_IFMT;
}

/* faccessat2(2), since Linux 5.8: faccessat(2) uses the real ids and does not count retained capabilities. */
int may_access(const char *path, int mode)
{
	int result = (int)syscall(SYS_faccessat2, AT_FDCWD, path, mode, AT_EACCESS);

	/* An older kernel or filter: by the real ids, which equal the effective ones by now. */
	if (result && (errno == ENOSYS || errno == EPERM))
		result = (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
	return result;
}

int may_reopen(int descriptor)
{
	long flags = syscall(SYS_fcntl, descriptor, F_GETFL);
	long access = flags & O_ACCMODE;
	int mode = access == O_RDONLY ? R_OK : access == O_WRONLY ? W_OK : R_OK | W_OK;

	if (flags < 0)
		return -1;
	return (int)syscall(SYS_faccessat2, descriptor, "", mode, AT_EACCESS | AT_EMPTY_PATH);
}
