/*
 * plan.h - what both systems share: the steps, the failure of one, the questions to the new identity
 *
 * Plain data. The glue fills it in and has decided everything; the core carries it out and decides nothing. How a
 * system describes a thread or a process is in its own header: linux/linux.h, sunos/sunos.h. Errors are errno values of
 * the system; 0 is success.
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

/* Everything that this package asks of the kernel, in the order in which it asks: identifier; name in an error, in the
 * last line of an aborted process and in a plan; system call on Linux and on Solaris (NULL: no such step there). */
#define EACH_STEP(STEP) \
	STEP(NONE, "", "", "") \
	STEP(PROC, "proc", "open", NULL)                       /* open /proc/self/task and make sure that it is ours */ \
	STEP(OBSERVE, "observe", NULL, "ucred_get")            /* read the state of the process */ \
	STEP(LINK, "chroot", "readlink", "readlink")           /* a link on procfs in the chroot's path */ \
	STEP(DESCRIPTORS, "descriptors", "readlink", "fdwalk") /* list what is open; refused are: */ \
	STEP(RING, "descriptors", "io_uring_setup", NULL) \
	STEP(DIRECTORY, "descriptors", "open", "open") \
	STEP(CHILD, "rehearsal child", "clone", "forkx")       /* make the child that rehearses, and wait for it */ \
	STEP(MEMORY, "memory", "mmap", "mmap") \
	STEP(MASK, "signal mask", "rt_sigprocmask", "pthread_sigmask") \
	STEP(SIGNAL, "signal 33", "rt_sigaction", NULL)        /* borrow signal 33, and give it back */ \
	STEP(PARK, "park", "rt_tgsigqueueinfo", NULL)          /* stop every thread in the signal handler */ \
	STEP(GROUPS, "compare", "getgroups", NULL)             /* more threads x groups than are read in a second */ \
	STEP(COMPARE, "compare", "read", "ucred_get")          /* is each thread what the plan was made for? */ \
	STEP(SHARED, "compare", "kcmp", NULL)                  /* do all share root, working directory, descriptors? */ \
	STEP(MEMORY_SHARED, "shared memory", "read", NULL)     /* another process with this memory */ \
	STEP(SIGUSR1, "SIGUSR1", "rt_sigaction", "sigaction")  /* the line: from here on there is no way back */ \
	STEP(PROTECT, "protect", NULL, "setpflags") \
	STEP(FCHDIR, "chroot", "fchdir", "fchdir")             /* once, for the process */ \
	STEP(CHROOT, "chroot", "chroot", "chroot") \
	STEP(CHDIR, "chroot", "chdir", "chdir") \
	STEP(BOUNDING, "bounding", "prctl", NULL)              /* in each thread: linux/steps.c, sunos/steps.c */ \
	STEP(SETGROUPS, "setgroups", "setgroups", "setgroups") \
	STEP(SETRESGID, "setresgid", "setresgid", NULL) \
	STEP(SETGID, "setgid", NULL, "setgid") \
	STEP(KEEPCAPS, "keepcaps", "prctl", NULL) \
	STEP(SETRESUID, "setresuid", "setresuid", NULL) \
	STEP(SETPFLAGS, "setpflags", NULL, "setpflags") \
	STEP(SETUID, "setuid", NULL, "setuid") \
	STEP(XPOLICY, "xpolicy", NULL, "setpflags") \
	STEP(PFEXEC, "pfexec", NULL, "setpflags") \
	STEP(PERMITTED, "permitted", NULL, "setppriv") \
	STEP(LIMIT, "limit", NULL, "setppriv") \
	STEP(EFFECTIVE, "effective", NULL, "setppriv") \
	STEP(CAPSET, "capset", "capset", NULL) \
	STEP(KEEPCAPS_BACK, "keepcaps back", "prctl", NULL) \
	STEP(AMBIENT, "ambient", "prctl", NULL) \
	STEP(NO_NEW_PRIVS, "no_new_privs", "prctl", NULL) \
	STEP(DUMPABLE, "dumpable", "prctl", NULL) \
	STEP(REGAIN, "regain", "setresuid", "setuid")          /* in the rehearsal: what must fail by now, */ \
	STEP(READ, "read", "open", "open")                     /* and the questions */ \
	STEP(WRITE, "write", "faccessat2", "access") \
	STEP(ENTER, "enter", "faccessat2", "access") \
	STEP(BIND, "bind", "bind", "bind") \
	STEP(REOPEN, "reopen", "faccessat2", NULL) \
	STEP(EXCHANGE, "exchange", "faccessat", "faccessat") \
	STEP(READ_BACK, "read back", "read", "ucred_get")      /* what the kernel says afterwards */

#define STEP_IDENTIFIER(identifier, name, linux_call, sunos_call) STEP_##identifier,
enum step { EACH_STEP(STEP_IDENTIFIER) STEP_COUNT };
#undef STEP_IDENTIFIER

struct step_name {
	const char *step;
	const char *syscall;
};
extern const struct step_name step_names[STEP_COUNT]; /* each system's steps.c */

/* A plan's steps, one bit each. */
typedef uint64_t step_set;
static inline bool has_step(step_set steps, enum step step) { return steps >> step & 1; }

/* What failed, and at which step. */
struct failure {
	enum step step;
	int error; /* errno; 0: no call failed, a check did */
	int signo; /* the signal that killed the child at this step, or 0 */
	pid_t tid; /* the thread or process concerned, or 0 */
	int item;  /* the descriptor concerned, or the index of the question */
	const char *call; /* the system call, if it is not the step's */
};

/* What the new identity is asked. STEP_READ, STEP_WRITE, STEP_ENTER: a path (`number` 1: ask whether the file can be
 * read, without opening it). STEP_BIND: a TCP port. STEP_REOPEN: a descriptor. STEP_EXCHANGE: can another process of
 * the new user put something else in the place of what this path names? Asked before the chroot; `number` 1: the last
 * component counts too. */
struct question {
	enum step kind;
	const char *path;
	int number;
};

enum exchanged_by {
	EXCHANGED_BY_NONE,
	EXCHANGED_BY_USER,   /* the new user, in the folder that holds it */
	EXCHANGED_BY_WRITER, /* the new user, who can write to the file itself */
	EXCHANGED_BY_OTHERS  /* users other than root and the new user */
};

struct answer {
	int error;            /* errno */
	enum exchanged_by by; /* STEP_EXCHANGE: who can exchange a component, */
	int found;            /* and where the path of the first one begins among the texts found, or -1 */
};

/* A descriptor of the chroot's directory, opened component by component; -1 with *why. `walked`: PATH_MAX bytes for its
 * path without links, or for that up to the component that failed. */
int open_root(const char *path, char *walked, struct failure *why);

#ifdef __cplusplus
}
#endif
#endif
