/*
 * commit.c - the one irreversible act, from top to bottom, and the end of the process
 *
 * Up to the line a refusal leaves the process as it was. From the line on there is no way back, so there is no error
 * to return either: what fails ends the process, because nobody may go on with a half-privileged one.
 */
#include "core.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/lwp.h>
#include <sys/time.h>
#include <unistd.h>

static char *append(char *at, const char *text)
{
	size_t length = strlen(text);

	memcpy(at, text, length); /* more is to come: NOLINT(bugprone-not-null-terminated-result) */
	return at + length;
}

static char *append_number(char *at, unsigned number)
{
	if (number >= 10)
		at = append_number(at, number / 10);
	*at = (char)('0' + number % 10);
	return at + 1;
}

static _Noreturn void end_at(const struct failure *why)
{
	char line[256], *at = line;

	at = append(at, "privdrop: fatal: step '");
	at = append(at, step_names[why->step].step);
	at = append(at, "' (");
	at = append(at, step_names[why->step].syscall);
	at = append(at, "): wanted success, found errno ");
	at = append_number(at, (unsigned)why->error);
	at = append(at, "; the process ends because it would be half privileged\n");
	end_process(line, (size_t)(at - line));
}

_Noreturn void end_here(enum step step)
{
	end_at(&(struct failure){.step = step, .error = errno});
}

_Noreturn void end_process(const char *line, size_t length)
{
	struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
	struct sigaction fatal = {.sa_handler = SIG_DFL};
	sigset_t all, none;

	/* No handler, no SIGPIPE, nothing between here and the end. */
	sigfillset(&all);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &all, NULL);

	/* A pipe that is writable takes this many bytes whole and at once (PIPE_BUF). One that is not must not keep a
	 * half-privileged process alive. */
	if (length > 512)
		length = 512;
	if (poll(&output, 1, 0) == 1 && (output.revents & POLLOUT)) {
		ssize_t written = write(STDERR_FILENO, line, length);
		(void)written; /* nobody is left to be told */
	}

	sigaction(SIGABRT, &fatal, NULL);
	_lwp_kill(_lwp_self(), SIGABRT);
	pthread_sigmask(SIG_SETMASK, &none, NULL);

	/* Still here: a process on which fatal signals from inside have no effect. */
	for (;;)
		_exit(134);
}

void release_reading(struct reading *reading)
{
	free(reading->state);
}

/* What harden() promises. Does not return from a failure. */
static void cross(const struct plan *plan, struct reading *reading, size_t size)
{
	struct failure why = {.step = STEP_NONE};
	hrtime_t begun = gethrtime(), applied;

	if (apply_steps(plan, &why))
		end_at(&why);
	applied = gethrtime();
	if (observe_process(reading->state, size))
		end_here(STEP_READ_BACK);
	reading->jailed = plan->steps & (1u << STEP_CHROOT) && is_jailed(plan->root);
	reading->apply_us = (uint32_t)((applied - begun) / 1000);
	reading->read_us = (uint32_t)((gethrtime() - applied) / 1000);
}

int commit(const struct plan *plan, struct reading *reading, struct failure *why)
{
	int root = (plan->steps & (1u << STEP_CHROOT)) ? plan->root : -1;
	size_t size = state_size();
	sigset_t all, before;

	*why = (struct failure){.step = STEP_MEMORY};
	if (!size || !(reading->state = malloc(size))) {
		why->error = errno;
		return -1;
	}
	sigfillset(&all);
	why->step = STEP_MASK;
	if ((why->error = pthread_sigmask(SIG_SETMASK, &all, &before))) {
		release_reading(reading);
		return -1;
	}
	if (list_listeners(root, NULL, 0, why) < 0) {
		if ((errno = pthread_sigmask(SIG_SETMASK, &before, NULL)))
			end_here(STEP_MASK);
		release_reading(reading);
		return -1;
	}
	/* ===== The line. Nothing has changed up to here; from here on there is no way back. ===== */
	cross(plan, reading, size);
	if ((errno = pthread_sigmask(SIG_SETMASK, &before, NULL)))
		end_here(STEP_MASK);
	return 0;
}
