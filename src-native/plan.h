/*
 * plan.h - what is to become of every thread, and what became of it
 *
 * The one header between the N-API glue (addon.cc) and the C core. Plain data: whoever fills in a plan
 * has decided everything; whoever carries it out decides nothing.
 *
 * Sets are 64-bit masks, capability N is bit N, as in capabilities(7) and in /proc/PID/status. Errors are
 * errno values; 0 is success.
 */
#ifndef PRIVDROP_PLAN_H
#define PRIVDROP_PLAN_H

#include "accounts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
#ifndef _Noreturn /* musl's headers have it */
#define _Noreturn [[noreturn]]
#endif
extern "C" {
#endif

/* Everything that this package asks of the kernel, in the order in which it asks. One name each: it is what an
 * error, the last line of an aborted process, and a plan's list of steps call it. */
enum step {
	STEP_NONE,

	STEP_PROC,        /* open /proc/self/task and make sure that it is ours */
	STEP_DESCRIPTORS, /* look at everything that is open; and what then is refused: */
	STEP_RING,
	STEP_DIRECTORY,
	STEP_CHILD,     /* make and await the child that rehearses */
	STEP_TABLE,     /* memory for what the threads report */
	STEP_MASK,      /* block the main thread's signals, and unblock them */
	STEP_SIGNAL,    /* borrow signal 33, and give it back */
	STEP_PARK,      /* stop every thread in our signal handler */
	STEP_COMPARE,   /* are all threads what the plan was made for? */
	STEP_SHARED,    /* and do they share root, working directory and descriptors? */

	STEP_SIGUSR1,   /* the line: from here on there is no way back */

	STEP_FCHDIR,    /* once, for the process: steps.c */
	STEP_CHROOT,
	STEP_CHDIR,

	STEP_BOUNDING,  /* in each thread: steps.c */
	STEP_SETGROUPS,
	STEP_SETRESGID,
	STEP_KEEPCAPS,
	STEP_SETRESUID,
	STEP_CAPSET,
	STEP_KEEPCAPS_BACK,
	STEP_AMBIENT,
	STEP_NO_NEW_PRIVS,

	STEP_DUMPABLE,

	STEP_ENTER,     /* in the rehearsal: the new root, as the new identity; */
	STEP_REGAIN,    /* what must not succeed any more, */
	STEP_READ,      /* and what must: plan->attempts */
	STEP_WRITE,
	STEP_BIND,
	STEP_READ_BACK, /* the kernel's own text about each thread */
	STEP_COUNT
};

struct step_name {
	const char *step;
	const char *syscall;
};
extern const struct step_name step_names[STEP_COUNT];

/* The step that was under way when something failed. */
struct failure {
	enum step step;
	int error; /* errno; 0: no call failed, something is not as it must be */
	int signo; /* the signal that ended the child in it, or 0 */
	pid_t tid; /* the thread that it is about, or 0 */
	int item;  /* the descriptor that it is about, or the place in plan->attempts */
};

/* What the new identity must be able to use. */
struct attempt {
	enum step step;   /* STEP_READ, STEP_WRITE, STEP_BIND */
	const char *path; /* of the first two */
	uint16_t port;    /* of the last */
};

/* What an open descriptor means to a plan. */
enum descriptor_kind {
	DESCRIPTOR_PLAIN,     /* nothing */
	DESCRIPTOR_RING,      /* an io_uring that keeps root's credentials, or does not say: refused */
	DESCRIPTOR_DIRECTORY, /* outside the new root: refused */
	DESCRIPTOR_LISTENS,
	DESCRIPTOR_RAW,
	DESCRIPTOR_PACKET,
	DESCRIPTOR_NETLINK
};

struct descriptor {
	int number;
	enum descriptor_kind kind;
};

struct capability_sets {
	uint64_t permitted, effective, inheritable, bounding, ambient;
};

/* What one thread says about itself (observe_this_thread). No padding: two of them are compared with memcmp. */
struct credentials {
	uid_t uid[4]; /* real, effective, saved, file system: the order of "Uid:" in /proc/PID/status */
	gid_t gid[4];
	struct capability_sets sets;
	uint32_t securebits;
	uint32_t no_new_privs;
	uint32_t seccomp;
	uint32_t group_count;
	gid_t groups[]; /* supplementary groups, in the kernel's order */
};

struct plan {
	const struct credentials *before; /* what every thread must be for this plan to be right */
	uint32_t steps;                   /* bit (1 << STEP_...) set: the step is to be done */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* exactly these supplementary groups, ascending */
	size_t group_count;
	struct capability_sets sets;
	uint64_t bounding_drop; /* the bits of the bounding set to drop */
	int root;               /* the directory for chroot(2), open; only for STEP_CHROOT */
	bool keep_sigusr1;      /* the application listens for it: its disposition stays */
	const struct attempt *attempts;
	size_t attempt_count;
};

/* One task of this process as the kernel describes it. */
struct task_text {
	pid_t tid;
	uint32_t securebits; /* not in the text: the thread itself was asked (prctl(2), PR_GET_SECUREBITS) */
	bool jailed;         /* its root and its working directory are plan->root */
	const char *status;  /* /proc/self/task/TID/status, not terminated */
	size_t length;
};

enum { FOREIGN_MAX = 16 };

/* What a rehearsal or a commit has led to. Valid until release_reading(). */
struct reading {
	struct task_text *tasks;
	size_t count;
	const int *foreign; /* rehearsal: open files that the new identity could not open itself, up to FOREIGN_MAX */
	size_t foreign_count;
	int dumpable;                        /* prctl(2), PR_GET_DUMPABLE */
	uint32_t park_us, apply_us, read_us; /* microseconds */
	size_t capacity, text_size, memory_size;
	void *memory;
};

/* Each of the next three returns 0, or -1 with *why filled in and nothing changed.
 *
 * observe_main: the calling thread's credentials and status text; both to be freed by the caller.
 * rehearse: the plan's steps in a child that ends then; the reading is about that child.
 * commit: the plan's steps in every thread. Past the line it does not return an error: it ends the process. */
int observe_main(struct credentials **own, char **status, struct failure *why);
int rehearse(const struct plan *plan, struct reading *reading, struct failure *why);
int commit(const struct plan *plan, struct reading *reading, struct failure *why);
void release_reading(struct reading *reading);

/* Every descriptor that is not plain, as many as there is room for; returns how many there are. -1: it could not look, or
 * one is refused. `root`: an open directory, or -1. */
long list_descriptors(int root, struct descriptor *found, size_t room, struct failure *why);

/* Of any thread of this process, dead or alive (waitid(2)). */
bool has_children(void);

/* What a thread says of itself where there is no /proc to read it from. */
struct self_report {
	pid_t tid;
	char name[16]; /* prctl(2), PR_GET_NAME */
	uint64_t root_device, root_inode;
	bool inside; /* its working directory is inside of its root */
	const struct credentials *own;
};

/* Stop every thread for a moment and have it say who it is. `stat`: /proc/self/stat, opened when there was a /proc; it tells
 * how many threads there are. 0, or -1 with *why. Then, until forget_threads(): the i-th, NULL after the last. */
int ask_every_thread(int stat, struct failure *why);
const struct self_report *asked_thread(size_t i);
void forget_threads(void);

/* One line on file descriptor 2, then SIGABRT. For a process that must not go on. */
_Noreturn void end_process(const char *line, size_t length);

/* cap_from_text(3): 0, EINVAL for a text that libcap refuses, ENOMEM. Sets bounding and ambient to none. */
int capabilities_from_text(const char *text, struct capability_sets *sets);
/* How many capabilities this kernel has (cap_max_bits(3)). */
unsigned capability_count(void);
/* cap_to_name(3): the name, or the number where libcap knows none. To be released with capability_name_free(). */
char *capability_name(unsigned capability);
void capability_name_free(char *name);

#ifdef __cplusplus
}
#endif
#endif
