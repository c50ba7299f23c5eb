/*
 * signals.c - signal dispositions and masks by raw system calls, and the end of the process
 *
 * glibc's sigaction() refuses the signal that we need (every_thread.c), and its sigprocmask() leaves that one
 * unblocked; its abort() takes a lock. Hence the system calls themselves (rt_sigaction(2), rt_sigprocmask(2)).
 */
#define _GNU_SOURCE
#include "core.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
__asm__(".text\n"
        ".globl return_from_signal\n"
        ".hidden return_from_signal\n"
        ".type return_from_signal, @function\n"
        "return_from_signal:\n"
        "	mov $15, %rax\n" /* SYS_rt_sigreturn; unwinders know the frame by these very bytes */
        "	syscall\n"
        ".size return_from_signal, . - return_from_signal\n");
#endif

int signal_action(int signo, const struct kernel_sigaction *new_action, struct kernel_sigaction *old_action)
{
	return (int)syscall(SYS_rt_sigaction, signo, new_action, old_action, sizeof new_action->mask);
}

int ignore_signal(int signo)
{
	/* Whatever is pending of it is thrown away too (signal(7)). */
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

_Noreturn void end_process(const char *line, size_t length)
{
	struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
	struct kernel_sigaction fatal = {.handler = SIG_DFL};
	uint64_t none = 0, before;

	/* No handler, no SIGPIPE, nothing between here and the end. */
	block_signals(&before);

	/* A pipe that is writable takes this many bytes whole and at once (pipe(7), PIPE_BUF). One that is not must
	 * not keep a half-privileged process alive. */
	if (length > 512)
		length = 512;
	if (poll(&output, 1, 0) == 1 && (output.revents & POLLOUT)) {
		ssize_t written = write(STDERR_FILENO, line, length);
		(void)written; /* nobody is left to be told */
	}

	signal_action(SIGABRT, &fatal, NULL);
	syscall(SYS_tgkill, getpid(), this_thread(), SIGABRT);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);

	/* Still here: process 1 of a pid namespace, on which fatal signals from inside have no effect. */
	for (;;)
		syscall(SYS_exit_group, 134);
}
