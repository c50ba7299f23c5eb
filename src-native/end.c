/*
 * end.c - the end of a process that must not go on
 *
 * Past the line there is no way back and no error to return: a failure ends the process, because it would be half
 * privileged. Nothing here may wait without a bound. A write(2) to a file on a dead file system, or to a full pipe,
 * never returns, not even after SIGKILL; so a child writes the line, and the process ends even if that child hangs.
 */
#define _GNU_SOURCE
#include "shared.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_SIZE = 512, WRITE_MS = 500, SLICE_MS = 5, ABORTED = 134 };

static struct {
	char text[LINE_MAX_SIZE];
	size_t length;
} last_line; /* static: a process ends once */

static void append(const char *text)
{
	size_t length = strlen(text);
	size_t room = sizeof last_line.text - 1 - last_line.length;

	if (length > room)
		length = room;
	for (size_t i = 0; i < length; i++) /* one line, even if the reason has several */
		last_line.text[last_line.length++] = (char)((unsigned char)text[i] < ' ' ? ' ' : text[i]);
}

static void append_number(unsigned number)
{
	char digit[2] = {(char)('0' + number % 10), '\0'};

	if (number >= 10)
		append_number(number / 10);
	append(digit);
}

static void begin_line(enum step step, pid_t tid)
{
	last_line.length = 0;
	append("privdrop: fatal: step '");
	append(step_names[step].step);
	append("' (");
	append(step_names[step].syscall);
	append(") in thread ");
	append_number((unsigned)(tid ? tid : this_thread()));
}

/* A dead file system holds even a killed process. */
static bool may_be_held(void)
{
	return type_of_descriptor(STDERR_FILENO) == S_IFREG;
}

/* In the child, which must hold no listener if a file system holds it. */
static void write_line(void)
{
	if (!may_be_held() || !close_sockets_and_pipes(STDERR_FILENO, STDERR_FILENO)) {
		ssize_t written = write(STDERR_FILENO, last_line.text, last_line.length);
		(void)written; /* the process ends either way */
	}
	exit_now(0);
}

/* Process 1 of a pid namespace ends only when all others in it have ended: a child that hangs would keep it. */
static bool may_write(void)
{
	return getpid() != 1 || !may_be_held();
}

/* Where there is no child (Solaris: without proc_fork). A pipe or socket that is ready takes so short a line at
 * once. */
static void write_at_once(void)
{
	struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
	int type = type_of_descriptor(STDERR_FILENO);

	if ((type == S_IFIFO || type == S_IFSOCK) && poll(&output, 1, 0) == 1 && output.revents & POLLOUT) {
		ssize_t written = write(STDERR_FILENO, last_line.text, last_line.length);
		(void)written; /* the process ends either way */
	}
}

static _Noreturn void end_with_line(void)
{
	const struct timespec slice = {.tv_nsec = SLICE_MS * 1000000L};
	pid_t writer, ended;
	int status;

	deafen();
	last_line.text[last_line.length++] = '\n';
	writer = may_write() ? start_writer(write_line) : -1;
	if (writer > 0) {
		for (int waited = 0; waited < WRITE_MS && (ended = wait_for(writer, &status, WNOHANG)) == 0; waited += SLICE_MS)
			nanosleep(&slice, NULL);
		if (ended == 0)
			kill(writer, SIGKILL);
	} else {
		write_at_once();
	}
	abort_thread();
	/* Still here: process 1 of a pid namespace, on which fatal signals from inside have no effect. */
	exit_now(ABORTED);
}

_Noreturn void end_at(const struct failure *why)
{
	begin_line(why->step, why->tid);
	append(why->error ? ": wanted success, found errno " : ": wanted success, found no answer, errno ");
	append_number((unsigned)why->error);
	append("; the process ends because it would be half privileged");
	end_with_line();
}

_Noreturn void end_here(enum step step)
{
	end_at(&(struct failure){.step = step, .error = errno});
}

_Noreturn void end_unequal(enum step step, pid_t tid, const char *wanted, const char *found)
{
	begin_line(step, tid);
	append(": wanted ");
	append(wanted);
	append(", found ");
	append(found);
	append("; the process ends because it would be half privileged");
	end_with_line();
}

_Noreturn void end_process(const char *reason)
{
	last_line.length = 0;
	append("privdrop: fatal: ");
	append(reason);
	append("; the process ends");
	end_with_line();
}
