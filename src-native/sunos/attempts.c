/*
 * attempts.c - what the rehearsing child tries as the new identity: what must not succeed, and what must
 *
 * What it opens or changes ends with it. Nothing is created anywhere.
 */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is there a way back that the plan does not itself leave open? None of these may succeed. */
static bool regains_root(const struct plan *plan, const priv_set_t *held)
{
	static const gid_t root_group;
	bool may_set_ids = priv_ismember(plan->permitted, "proc_setid");

	return (plan->uid != 0 && !may_set_ids && !setuid(0)) || (plan->gid != 0 && !may_set_ids && !setgid(0)) ||
	       (!may_set_ids && !setgroups(1, &root_group)) ||
	       (!priv_issubset(held, plan->permitted) && !setppriv(PRIV_SET, PRIV_PERMITTED, held));
}

static int try_read(const char *path)
{
	/* Not to wait for the other end of a FIFO, and not to take a terminal. */
	int file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);

	return file < 0 ? -1 : close(file);
}

static int try_write(const char *path)
{
	struct stat found;

	if (stat(path, &found))
		return -1;
	/* By the real ids, which are the same by now. Into a directory one writes by making a file in it, which takes both. */
	return access(path, S_ISDIR(found.st_mode) ? W_OK | X_OK : W_OK);
}

static int try_bind_to(const struct sockaddr *address, socklen_t size)
{
	int one = 1;
	int listener = socket(address->sa_family, SOCK_STREAM, 0);

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
	const unsigned char bytes[2] = {(unsigned char)(port >> 8), (unsigned char)port}; /* network byte order */
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};

	memcpy(&four.sin_port, bytes, sizeof bytes);
	memcpy(&six.sin6_port, bytes, sizeof bytes);
	return try_bind_to((struct sockaddr *)&four, sizeof four) || try_bind_to((struct sockaddr *)&six, sizeof six)
	               ? -1
	               : 0;
}

int try_as_new_identity(const struct plan *plan, const priv_set_t *held, struct failure *now)
{
	now->step = STEP_REGAIN;
	if (regains_root(plan, held)) {
		errno = 0; /* no call has failed: that is the trouble */
		return -1;
	}
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
