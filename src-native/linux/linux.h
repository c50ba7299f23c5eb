/*
 * linux.h - the plan of every thread, and what the files of the Linux core share
 *
 * First what the glue calls, then what the core keeps to itself. Between park_every_thread() and release_every_thread()
 * every other thread of the process is stopped and keeps the locks that it holds. The code that runs in between makes
 * system calls and touches mapped memory: it does not allocate, lock, log or look up a name. The same holds for the
 * signal handler and for the rehearsing child.
 *
 * Sets are 64-bit masks, capability N is bit N, as in capabilities(7) and in /proc/PID/status.
 */
#ifndef PRIVDROP_LINUX_H
#define PRIVDROP_LINUX_H

#include "../plan.h"

#ifdef __cplusplus
extern "C" {
#endif

struct capability_sets {
	uint64_t permitted, effective, inheritable, bounding, ambient;
};

/* What an open descriptor means to a plan. */
enum descriptor_kind {
	DESCRIPTOR_PLAIN, /* nothing */
	DESCRIPTOR_RING,  /* an io_uring that keeps root's credentials, or may keep them: refused */
	DESCRIPTOR_FILE,  /* a regular file or a device that has not been removed */
	DESCRIPTOR_LISTENS,
	DESCRIPTOR_DATAGRAM, /* bound to a port of IPv4 or IPv6 */
	DESCRIPTOR_PEER,     /* connected to a Unix socket that has a name */
	DESCRIPTOR_RAW,
	DESCRIPTOR_PACKET,
	DESCRIPTOR_NETLINK
};

struct descriptor {
	int number;
	enum descriptor_kind kind;
	bool writable;    /* a file: it was opened for writing */
	bool shares_port; /* a listener: SO_REUSEPORT */
	char name[109];   /* the path of a Unix listener or peer (unix(7)); else '' */
};

/* An open directory that the rehearsing child found inside the new root. */
struct directory {
	int descriptor;
	uint32_t device_major, device_minor;
	uint64_t inode;
	uint64_t mount; /* proc_pid_fdinfo(5), mnt_id */
};

/* A status text (proc_pid_status(5)); not terminated. */
struct text {
	const char *at;
	size_t length;
};

struct plan {
	step_set steps;
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* exactly these supplementary groups, ascending */
	size_t group_count;
	const gid_t *account_groups; /* for STEP_EXCHANGE: `groups` and those of the new user's account */
	size_t account_group_count;
	struct capability_sets sets;
	uint64_t bounding_drop; /* the bits of the bounding set to drop */
	int root;               /* the directory for chroot(2), open; only for STEP_CHROOT */
	bool keep_sigusr1;      /* the application's handler is installed: it stays */
	const struct question *questions;
	size_t question_count;

	struct text before;            /* the thread's text when this plan was made, */
	struct capability_sets held;   /* its permitted, effective and inheritable sets, */
	size_t held_group_count;
	uint32_t securebits;           /* of every thread, before and after (prctl(2), PR_GET_SECUREBITS) */
	struct text expected;          /* for the commit: the rehearsing child's text, which TypeScript has checked */
	const struct directory *inside; /* for the commit, from the rehearsal */
	size_t inside_count;
	bool without_kcmp, without_regain; /* a filter kills the process that tries it */
	volatile uint8_t *kept;        /* set to 1 by the commit once every thread is proved, before any of them runs */
};

/* What the rehearsing child left behind. Valid until release_rehearsal(). */
struct rehearsal {
	struct text status;
	uint32_t securebits;
	bool jailed; /* its root and its working directory are plan->root */
	int dumpable;
	const struct answer *answers; /* one for each question */
	const char *found;            /* paths, one after the other: answer.found is an offset in it */
	const struct directory *inside;
	size_t inside_count;
	void *memory;
	size_t memory_size;
};

enum { THREAD_NAME_SIZE = 65 };

/* The result of a commit. Valid until release_commit(). */
struct committed {
	struct thread {
		pid_t tid;
		char name[THREAD_NAME_SIZE]; /* as in the status text */
	} *threads;
	size_t count;
	pid_t *root_children; /* child processes that stay root */
	size_t root_child_count;
	uint32_t park_tries;                 /* 1: all threads parked at the first try */
	uint32_t park_us, apply_us, read_us; /* microseconds */
	void *memory;
	size_t memory_size;
};

/* Each of the next three returns 0, or -1 with *why filled in and nothing changed.
 *
 * observe_thread: the calling thread's status text, to be freed by the caller, and its securebits.
 * rehearse: the plan's steps in a child that then ends.
 * commit: the plan's steps in every thread. Past the line it does not return an error: it ends the process. */
int observe_thread(char **status, uint32_t *securebits, struct failure *why);
int rehearse(const struct plan *plan, struct rehearsal *rehearsal, struct failure *why);
int commit(const struct plan *plan, struct committed *done, struct failure *why);
void release_rehearsal(struct rehearsal *rehearsal);
void release_commit(struct committed *done);

/* List the descriptors that are not plain, at most `room` of them; returns how many there are. -1: they cannot be
 * listed, or one is refused. */
long list_descriptors(struct descriptor *found, size_t room, struct failure *why);

/* children.c: root processes of this session or process group. Left out are this process, its children, its ancestors
 * and their other children. Returns how many there are, of which at most `room` are written; -1 with errno. */
long list_session_root(pid_t *found, size_t room);

/* surroundings.c: the paths of the program's libraries and addons, one after the other, NUL-terminated; free() them. */
char *list_libraries(size_t *size);
/* The capabilities that a file gives, or 0 (security.capability, capabilities(7)); `effective`: exec(2) of it fails
 * without them. */
uint64_t file_capabilities(const char *path, bool *effective);

/* Ignore SIGUSR1, on which Node opens its inspector, until give_sigusr1_back(), unless the application's own handler is
 * installed; `listened`: `process` has a listener. 0: ignored; 1: the application's handler stays; -1 with errno. */
int hold_sigusr1(bool listened);
int give_sigusr1_back(void);

/* end.c: one line on file descriptor 2, then SIGABRT. For a process that must not go on. */
_Noreturn void end_process(const char *reason);

/* cap_from_text(3): 0, EINVAL for a text that libcap refuses, ENOMEM. Sets bounding and ambient to none. */
int capabilities_from_text(const char *text, struct capability_sets *sets);
/* How many capabilities this kernel has (cap_max_bits(3)). */
unsigned capability_count(void);
/* cap_to_name(3): the name, or the number if libcap has no name. Release it with capability_name_free(). */
char *capability_name(unsigned capability);
void capability_name_free(char *name);

#ifdef __cplusplus
}
#else /* ---- what the core keeps to itself ---- */

#include "../shared.h"

#include <limits.h>
#include <stdatomic.h>
#include <sys/stat.h>
#ifndef STATX_TYPE /* musl before 1.2.5 has no struct statx; a libc that has one may clash with the kernel's */
#include <linux/stat.h>
#endif

/* steps.c: change_root() acts for the process, apply_steps() for the calling thread. 0, or -1 with *now the step that
 * failed. *now names each step before it is taken, so that it tells where a thread was killed. */
int change_root(const struct plan *plan, struct failure *now);
int apply_steps(const struct plan *plan, struct failure *now);

/* steps.c: capset(2), of the calling thread; the ambient set is left to the kernel. -1 with errno. */
long set_capabilities(const struct capability_sets *sets);

/* proc.c */
enum { DECIMAL_SIZE = 12, SELECTED_LINES = 9 };
void decimal(char text[DECIMAL_SIZE], int number);
/* A descriptor of /proc/self/task, or -1. */
int open_tasks(struct failure *why);
/* The number of tasks in it, or -1 with errno. */
long count_tasks(int tasks);
/* Call visit() for each number that a folder of /proc lists: tasks, descriptors, processes. Stops at the first answer
 * that is not 0 and returns it. -1 with errno. */
int each_number(int folder, int (*visit)(int number, void *context), void *context);
/* A whole file below a folder of /proc. Bytes read, at most `size`, or -1 with errno. */
ssize_t read_file(int folder, const char *path, char *text, size_t size);
ssize_t read_status(int tasks, pid_t tid, char *text, size_t size);
/* How many bytes a status text can need. */
size_t status_size(size_t group_count);
/* Copy the lines of a status text that tell of credentials: Uid, Gid, Groups, CapInh, CapPrm, CapEff, CapBnd, CapAmb,
 * NoNewPrivs; with_filters: and Seccomp, Seccomp_filters, if there are any. Returns the bytes written to `lines`, which
 * has room for the whole text; 0: one of the nine is missing. */
size_t select_lines(struct text status, bool with_filters, char *lines);
/* The number behind a label ("mnt_id:") at the beginning of a line; 0: there is no such line. */
bool number_in(struct text text, const char *label, unsigned base, uint64_t *number);
/* Has that task this descriptor open, on the same directory? */
bool has_descriptor(int tasks, pid_t tid, int descriptor);
/* Are that task's root and working directory this open directory? */
bool is_jailed(int tasks, pid_t tid, int root);
/* statx(2) of a descriptor from the kernel's cached attributes: it does not wait for a file system. */
int describe(int descriptor, unsigned mask, struct statx *found);

/* descriptors.c. refuse_descriptors(): 0 if there is no ring that would undo the plan and, where the plan has a new
 * root, every open directory is on the list of those inside. list_inside(), called by the child: make that list, of at
 * most `room`; -1 with errno 0: a directory leads out. */
int refuse_descriptors(const struct plan *plan, int tasks, struct failure *why);
int list_inside(int tasks, struct directory *inside, size_t room, size_t *count, struct failure *now);
/* How many descriptors are open, or -1 with errno. */
long count_descriptors(int tasks);

/* exchange.c: answer every question of STEP_EXCHANGE in a helper process, which stands for any other process of the new
 * user. */
enum { EXCHANGE_STACK_SIZE = 64 * 1024, FOUND_SIZE = 32 * 1024 };
struct exchange {
	_Atomic pid_t helper; /* that process; the server ends and reaps it */
	struct failure now;   /* its step under way */
	int found_size;       /* bytes used in `found` */
	char found[FOUND_SIZE];
	char stack[EXCHANGE_STACK_SIZE] __attribute__((aligned(16)));
};
int ask_exchange(const struct plan *plan, struct exchange *exchange, struct answer *answers);

/* children.c, while all threads are parked. 0: no other process shares this memory; *done lists the children that are
 * root. */
int look_at_other_processes(int tasks, struct committed *done, struct failure *why);
enum { ROOT_CHILDREN_MAX = 1024 };

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
/* 0: SIGUSR1 is ignored, or has the application's handler if the plan keeps it. */
int check_sigusr1(bool kept);
#ifdef __x86_64__
/* On x86-64 a handler cannot return without it: sigreturn(2), "restorer". */
void return_from_signal(void) __attribute__((visibility("hidden")));
#endif

/* park.c: called by the main thread with its signals blocked, in this order. `tasks`: a descriptor of
 * /proc/self/task. */
int take_park_signal(struct failure *why);
int park_every_thread(int tasks, uint32_t *tries, struct failure *why);
uint32_t count_parked_threads(void);
/* Is every parked thread still in the handler? A thread's own seccomp filter may have killed it there. */
bool is_everyone_inside(void);
/* The securebits that a parked thread read when it parked or, later, after its steps; -1: it is not parked, or could
 * not read them. */
int64_t securebits_of(pid_t tid);
/* 0: each thread has taken all of the plan's steps. */
int apply_in_every_thread(const struct plan *plan, struct failure *why);
/* false: a thread is still in the handler, and the memory that it may read stays mapped. */
bool release_every_thread(void);
int give_park_signal_back(void);

#endif
#endif
