/*
 * core.h - what the files of the Linux core share with one another
 *
 * Between park_every_thread() and release_every_thread() every other thread of the process stands still, whatever
 * lock it holds. Whatever is called in between makes system calls and touches memory that is already there:
 * nothing allocates, locks, logs or looks up. The same holds for the handler and for the rehearsing child.
 */
#ifndef PRIVDROP_LINUX_CORE_H
#define PRIVDROP_LINUX_CORE_H

#include "../plan.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/stat.h>
#ifndef STATX_TYPE /* musl before 1.2.5 has no struct statx of its own, and a libc that has one may not bear the kernel's */
#include <linux/stat.h>
#endif

/* steps.c: for the process, and for the calling thread. 0, or -1 with *now the step that failed. *now always names the step
 * under way, so that whoever finds this thread dead knows where it died. */
int change_root(const struct plan *plan, struct failure *now);
int apply_steps(const struct plan *plan, struct failure *now);

/* observe.c */
enum { DECIMAL_SIZE = 12 };
void decimal(char text[DECIMAL_SIZE], int number);
pid_t this_thread(void);
size_t credentials_size(size_t group_count);
/* Ask the kernel about the calling thread. `room`: how many groups *own holds; more than that are only counted. `dropped`: of
 * the bounding set, what need not be asked for, because it goes anyway. */
int observe_this_thread(struct credentials *own, size_t room, uint64_t dropped);
/* And about what only it can say where there is no /proc. 0, or -1 with errno. */
int describe_this_thread(struct self_report *self, char path[PATH_MAX]);
/* The number of threads, from /proc/self/stat; -1 with errno. */
long count_threads(int stat);
/* A descriptor of /proc/self/task, or -1. */
int open_tasks(struct failure *why);
/* The number of tasks in it, or -1 with errno. */
long count_tasks(int tasks);
/* Call visit() for each number that a folder of /proc lists: tasks, or descriptors. Stops at the first answer that is not 0
 * and returns it. -1 with errno. */
int each_number(int folder, int (*visit)(int number, void *context), void *context);
/* The status text of a task. Bytes read, or -1 with errno. */
ssize_t read_status(int tasks, pid_t tid, char *text, size_t size);
/* Has that task this open descriptor, of the same directory? */
bool has_descriptor(int tasks, pid_t tid, int descriptor);
/* Are that task's root and working directory this open directory? */
bool is_jailed(int tasks, pid_t tid, int root);
/* How many bytes that text can need. */
size_t status_size(size_t group_count);

/* hazards.c: by each descriptor that is not plain; stops at the first answer that is not 0 and returns it. -1 with *why. */
int each_descriptor(int tasks, int root, int (*visit)(int descriptor, enum descriptor_kind kind, void *context),
                    void *context, struct failure *why);
/* 0: none by which the plan would be undone. */
int refuse_descriptors(const struct plan *plan, int tasks, struct failure *why);

/* attempts.c: by the rehearsing child, as the new identity. 0: what must fail has failed, and what must not has not. */
int try_as_new_identity(const struct plan *plan, int tasks, struct failure *now);
/* How many of the descriptors it could not open itself. */
size_t list_foreign(int tasks, int found[FOREIGN_MAX]);

/* signals.c: dispositions and masks by raw system calls */
#if !defined(__x86_64__) && !defined(__aarch64__)
#error "this is how struct sigaction looks to the kernels of these two; look up yours (asm/signal.h)"
#endif
struct kernel_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};
int signal_action(int signo, const struct kernel_sigaction *new_action, struct kernel_sigaction *old_action);
int block_signals(uint64_t *before);
int restore_signals(uint64_t before);
int ignore_signal(int signo);
#ifdef __x86_64__
/* This ABI's kernel has no way back from a handler of its own: sigreturn(2), "restorer". */
void return_from_signal(void) __attribute__((visibility("hidden")));
#endif

/* commit.c: the end of the process, with errno: past the line, or where a refusal would leave something changed. */
_Noreturn void end_here(enum step step);

/* every_thread.c: one at a time. Who waits here can be stopped. */
void lock_threads(void);
void unlock_threads(void);
/* by the main thread, with its signals blocked; in this order */
int take_park_signal(struct failure *why);
int park_every_thread(const struct plan *plan, int tasks, struct failure *why);
uint32_t count_parked_threads(void);
/* 0: each thread is what plan->before says. */
int compare_every_thread(struct failure *why);
/* 0: each thread has done all of the plan's list. */
int apply_in_every_thread(struct failure *why);
/* What the thread said when it had. */
uint32_t securebits_of(pid_t tid);
/* false: one of them has not left, and the memory that it may look at stays. */
bool release_every_thread(void);
int give_park_signal_back(void);

#endif
