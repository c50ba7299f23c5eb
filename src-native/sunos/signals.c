/*
 * signals.c - SIGUSR1, and this system's part in the end of the process
 */
#include "sunos.h"

#include <errno.h>
#include <signal.h>
#include <sys/fork.h>
#include <sys/lwp.h>
#include <sys/wait.h>
#include <unistd.h>

/* Did libuv install it? Nothing else in Node sets SA_RESTART; the inspector's handler does not (src/node.cc,
 * deps/uv/src/unix/signal.c). */
static bool is_of_libuv(const struct sigaction *action)
{
	return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN && action->sa_flags & SA_RESTART;
}

static struct sigaction sigusr1; /* its action before hold_sigusr1() */

int ignore_sigusr1(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	return sigaction(SIGUSR1, &ignore, NULL);
}

int hold_sigusr1(bool listened)
{
	if (sigaction(SIGUSR1, NULL, &sigusr1))
		return -1;
	if (listened && is_of_libuv(&sigusr1))
		return 1;
	return ignore_sigusr1();
}

int give_sigusr1_back(void)
{
	struct sigaction present;

	if (sigaction(SIGUSR1, NULL, &present))
		return -1;
	/* A handler that was installed meanwhile stays. */
	return present.sa_handler == SIG_IGN ? sigaction(SIGUSR1, &sigusr1, NULL) : 0;
}

int check_sigusr1(bool kept)
{
	struct sigaction present;

	if (sigaction(SIGUSR1, NULL, &present))
		return -1;
	return present.sa_handler == SIG_IGN || (kept && is_of_libuv(&present)) ? 0 : -1;
}

enum disposition sigusr1_disposition(void)
{
	struct sigaction present;

	if (sigaction(SIGUSR1, NULL, &present))
		return UNKNOWN;
	return present.sa_handler == SIG_IGN ? IGNORED : present.sa_handler == SIG_DFL ? DEFAULT : CAUGHT;
}

/* ---- child.c's and end.c's ---- */

pid_t this_thread(void)
{
	return getpid(); /* the process stands for its threads */
}

pid_t wait_for(pid_t child, int *status, int options)
{
	return waitpid(child, status, options);
}

void deafen(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

void abort_thread(void)
{
	struct sigaction fatal = {.sa_handler = SIG_DFL};
	sigset_t none;

	sigemptyset(&none);
	sigaction(SIGABRT, &fatal, NULL);
	_lwp_kill(_lwp_self(), SIGABRT);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
}

_Noreturn void exit_now(int status)
{
	for (;;)
		_exit(status);
}

/* Fails without proc_fork. */
pid_t start_writer(void (*write_line)(void))
{
	pid_t child = forkx(FORK_NOSIGCHLD | FORK_WAITPID);

	if (child == 0)
		write_line();
	return child;
}
