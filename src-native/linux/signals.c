/*
 * signals.c - signal dispositions and masks by raw system calls, and Linux's part in the end of the process
 *
 * glibc's sigaction() refuses the signal that we need (park.c), and its sigprocmask() leaves that one unblocked; its
 * abort() takes a lock. Hence the raw system calls (rt_sigaction(2), rt_sigprocmask(2)).
 */
#define _GNU_SOURCE
#include "linux.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
__asm__(".text\n"
        ".globl return_from_signal\n"
        ".hidden return_from_signal\n"
        ".type return_from_signal, @function\n"
        "return_from_signal:\n"
        "	mov $15, %rax\n" /* SYS_rt_sigreturn; unwinders recognize the frame by these very bytes */
        "	syscall\n"
        ".size return_from_signal, . - return_from_signal\n");
#endif

int signal_action(int signo, const struct kernel_sigaction *new_action, struct kernel_sigaction *old_action)
{
	return (int)syscall(SYS_rt_sigaction, signo, new_action, old_action, sizeof new_action->mask);
}

int ignore_signal(int signo)
{
	/* This also discards a pending signal (signal(7)). */
	struct kernel_sigaction ignore = {.handler = SIG_IGN};

	return signal_action(signo, &ignore, NULL);
}

int block_signals(uint64_t *before)
{
	uint64_t all = ~UINT64_C(0);

	return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, before, sizeof all);
}

int restore_signals(uint64_t before)
{
	return (int)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
}

/* Did libuv install it? Nothing else in Node sets SA_RESTART; the inspector's handler does not (src/node.cc,
 * deps/uv/src/unix/signal.c). */
static bool is_of_libuv(const struct kernel_sigaction *action)
{
	return action->handler != SIG_DFL && action->handler != SIG_IGN && action->flags & SA_RESTART;
}

static struct kernel_sigaction sigusr1; /* its action before hold_sigusr1() */
static bool holds_sigusr1;

int hold_sigusr1(bool listened)
{
	if (signal_action(SIGUSR1, NULL, &sigusr1))
		return -1;
	if (listened && is_of_libuv(&sigusr1))
		return 1;
	if (ignore_signal(SIGUSR1))
		return -1;
	holds_sigusr1 = true;
	return 0;
}

int give_sigusr1_back(void)
{
	struct kernel_sigaction present;

	if (!holds_sigusr1)
		return 0;
	/* A handler that was installed meanwhile stays. */
	if (signal_action(SIGUSR1, NULL, &present) ||
	    (present.handler == SIG_IGN && signal_action(SIGUSR1, &sigusr1, NULL)))
		return -1;
	holds_sigusr1 = false;
	return 0;
}

int check_sigusr1(bool kept)
{
	struct kernel_sigaction present;

	if (signal_action(SIGUSR1, NULL, &present))
		return -1;
	return present.handler == SIG_IGN || (kept && is_of_libuv(&present)) ? 0 : -1;
}

/* ---- end.c's ---- */

void deafen(void)
{
	uint64_t before;

	block_signals(&before);
}

void abort_thread(void)
{
	struct kernel_sigaction fatal = {.handler = SIG_DFL};
	uint64_t none = 0;

	signal_action(SIGABRT, &fatal, NULL);
	syscall(SYS_tgkill, getpid(), this_thread(), SIGABRT);
	restore_signals(none);
}

_Noreturn void exit_now(int status)
{
	for (;;)
		syscall(SYS_exit_group, status);
}

pid_t wait_for(pid_t child, int *status, int options)
{
	return waitpid(child, status, options | __WALL); /* such a child sends no SIGCHLD */
}

static int run_writer(void *write_line)
{
	((void (*)(void))(uintptr_t)write_line)();
	return 0;
}

pid_t start_writer(void (*write_line)(void))
{
	static char stack[16 * 1024] __attribute__((aligned(16)));

	/* CLONE_VM: the map of a large process is not copied for one line. */
	return clone(run_writer, stack + sizeof stack, CLONE_VM, (void *)(uintptr_t)write_line);
}
