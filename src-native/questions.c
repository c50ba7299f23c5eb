/*
 * questions.c - what the new identity will be able to do, asked of the kernel by the rehearsing child
 *
 * Nothing is created and nothing is written. Only a regular file or a folder is opened, and closed again: to open a
 * FIFO wakes its writer, and to open a device may move it.
 */
#define _GNU_SOURCE
#include "shared.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int try_read(const char *path)
{
	int type = type_of_path(path);
	int file;

	if (type < 0)
		return -1;
	if (type != S_IFREG && type != S_IFDIR)
		return may_access(path, R_OK);
	file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return file < 0 ? -1 : close(file);
}

static int try_write(const char *path)
{
	int type = type_of_path(path);

	/* To write into a directory is to make a file in it, which takes both (path_resolution(7)). */
	return type < 0 ? -1 : may_access(path, type == S_IFDIR ? W_OK | X_OK : W_OK);
}

static int try_bind_to(const struct sockaddr *address, socklen_t size)
{
	int one = 1;
	int result = 0;
	int listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0)
		return errno == EAFNOSUPPORT ? 0 : -1; /* a kernel without this family */
	/* SO_REUSEADDR: another process that sets it, as servers do, can bind and listen at the same instant. The kernel
	 * checks the privilege before it checks whether the port is free, and the server's own listener has the port: so
	 * EADDRINUSE is a yes. */
	if ((address->sa_family == AF_INET6 && setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one)) ||
	    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
	    (bind(listener, address, size) && errno != EADDRINUSE))
		result = errno;
	close(listener);
	errno = result;
	return result ? -1 : 0;
}

static int try_bind(int port)
{
	const unsigned char bytes[2] = {(unsigned char)(port >> 8), (unsigned char)port}; /* network byte order */
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};

	memcpy(&four.sin_port, bytes, sizeof bytes);
	memcpy(&six.sin6_port, bytes, sizeof bytes);
	if (try_bind_to((struct sockaddr *)&four, sizeof four))
		return -1;
	return try_bind_to((struct sockaddr *)&six, sizeof six);
}

static int ask(const struct question *question)
{
	switch (question->kind) {
	case STEP_READ:
		return question->number ? may_access(question->path, R_OK) : try_read(question->path);
	case STEP_WRITE:
		return try_write(question->path);
	case STEP_ENTER:
		return may_access(question->path, X_OK);
	case STEP_BIND:
		return try_bind(question->number);
	default:
		return may_reopen(question->number);
	}
}

void ask_questions(const struct question *questions, size_t count, struct answer *answers, struct failure *now)
{
	for (size_t i = 0; i < count; i++) {
		if (questions[i].kind == STEP_EXCHANGE)
			continue;
		now->step = questions[i].kind;
		now->item = (int)i;
		answers[i].error = ask(&questions[i]) ? errno : 0;
	}
}
