/*
 * attempts.c - what the rehearsing child tries as the new identity: what must not succeed, and what must
 *
 * It makes system calls only, and what it opens or changes ends with it. Nothing is created anywhere.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Is there a way back that the plan does not itself leave open? None of these may succeed. */
static bool regains_root(const struct plan *plan)
{
	static const gid_t root_group;
	struct plan back = {.sets = plan->before->sets, .steps = 1u << STEP_CAPSET};
	bool may_set_users = plan->sets.permitted >> CAP_SETUID & 1;
	bool may_set_groups = plan->sets.permitted >> CAP_SETGID & 1;
	struct failure now;

	return (plan->uid != 0 && !may_set_users && !syscall(SYS_setresuid, 0, 0, 0)) ||
	       (plan->gid != 0 && !may_set_groups && !syscall(SYS_setresgid, 0, 0, 0)) ||
	       (!may_set_groups && !syscall(SYS_setgroups, 1, &root_group)) ||
	       (plan->before->sets.permitted & ~plan->sets.permitted && !apply_steps(&back, &now));
}

struct exits {
	int own[2]; /* descriptors that the child alone has */
	struct failure *now;
};

/* each_number(): does this descriptor lead out of the new root? */
static int try_exit(int descriptor, void *context)
{
	const struct exits *exits = context;
	char path[PATH_MAX];

	if (descriptor == exits->own[0] || descriptor == exits->own[1] || syscall(SYS_fchdir, descriptor))
		return 0;
	if (syscall(SYS_getcwd, path, sizeof path) < 0)
		return errno == ENOENT ? 0 : -1; /* a directory that has been removed leads nowhere */
	if (path[0] == '/')
		return 0;
	exits->now->item = descriptor; /* "(unreachable)/...", getcwd(2) */
	return 1;
}

/* Each open directory is tried as a way out; then back to where the plan has the working directory. */
static int refuse_exits(int tasks, struct failure *now)
{
	int folder = openat(tasks, "../fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	now->step = STEP_DIRECTORY;
	if (folder < 0)
		return -1;
	result = each_number(folder, try_exit, &(struct exits){{tasks, folder}, now});
	if (result > 0)
		errno = 0; /* as above */
	if (result)
		return -1;
	close(folder);
	now->step = STEP_ENTER;
	return (int)syscall(SYS_chdir, "/");
}

static int try_read(const char *path)
{
	/* Not to wait for the other end of a FIFO, and not to take a terminal. */
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return file < 0 ? -1 : close(file);
}

static int try_write(const char *path)
{
	struct statx found;
	int mode = W_OK;
	int result;

	if (syscall(SYS_statx, AT_FDCWD, path, 0, STATX_TYPE, &found))
		return -1;
	/* Into a directory one writes by making a file in it, and that takes both (path_resolution(7)). */
	if (S_ISDIR(found.stx_mode))
		mode |= X_OK;
	result = (int)syscall(SYS_faccessat2, AT_FDCWD, path, mode, AT_EACCESS);
	/* Before Linux 5.8, or refused by a filter that is older: by the real ids, which are the same by now; of the
	 * capabilities it counts none. */
	if (result && (errno == ENOSYS || errno == EPERM))
		result = (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
	return result;
}

static int try_bind_to(const struct sockaddr *address, socklen_t size)
{
	int one = 1;
	int listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0)
		return errno == EAFNOSUPPORT ? 0 : -1; /* a kernel without this family */
	if (address->sa_family == AF_INET6 && setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one))
		return -1;
	/* The privilege is looked at first, then whether the port is free: the server's own listener has it. */
	if (bind(listener, address, size) && errno != EADDRINUSE)
		return -1;
	return close(listener);
}

static int try_bind(uint16_t port)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	return try_bind_to((struct sockaddr *)&four, sizeof four) || try_bind_to((struct sockaddr *)&six, sizeof six)
	               ? -1
	               : 0;
}

static int try_attempts(const struct plan *plan, struct failure *now)
{
	for (size_t i = 0; i < plan->attempt_count; i++) {
		const struct attempt *attempt = &plan->attempts[i];

		now->step = attempt->step;
		now->item = (int)i;
		if (attempt->step == STEP_READ    ? try_read(attempt->path)
		    : attempt->step == STEP_WRITE ? try_write(attempt->path)
		                                  : try_bind(attempt->port))
			return -1;
	}
	return 0;
}

int try_as_new_identity(const struct plan *plan, int tasks, struct failure *now)
{
	bool chroot = plan->steps & (1u << STEP_CHROOT);

	now->step = STEP_ENTER;
	if (chroot && syscall(SYS_chdir, "/"))
		return -1;
	now->step = STEP_REGAIN;
	if (regains_root(plan)) {
		errno = 0; /* no call has failed: that is the trouble */
		return -1;
	}
	if (chroot && refuse_exits(tasks, now))
		return -1;
	return try_attempts(plan, now);
}

struct foreign {
	int *found;
	size_t count;
};

/* each_number(): a file or device that is open, and that this identity could not open so itself. */
static int note_foreign(int descriptor, void *context)
{
	struct foreign *foreign = context;
	struct statx file;
	int flags = (int)syscall(SYS_fcntl, descriptor, F_GETFL);
	int access = flags & O_ACCMODE;
	int mode = access == O_RDONLY ? R_OK : access == O_WRONLY ? W_OK : R_OK | W_OK;

	if (flags < 0 || flags & O_PATH || syscall(SYS_statx, descriptor, "", AT_EMPTY_PATH, STATX_TYPE, &file) ||
	    !(S_ISREG(file.stx_mode) || S_ISCHR(file.stx_mode) || S_ISBLK(file.stx_mode)))
		return 0;
	/* Before Linux 5.8 there is no such call, and nobody says EACCES. */
	if (!syscall(SYS_faccessat2, descriptor, "", mode, AT_EACCESS | AT_EMPTY_PATH) || errno != EACCES)
		return 0;
	if (foreign->count < FOREIGN_MAX)
		foreign->found[foreign->count++] = descriptor;
	return 0;
}

size_t list_foreign(int tasks, int found[FOREIGN_MAX])
{
	struct foreign foreign = {.found = found};
	int folder = openat(tasks, "../fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (folder < 0)
		return 0;
	each_number(folder, note_foreign, &foreign); /* nothing rests on it */
	close(folder);
	return foreign.count;
}
