/*
 * core.h - what is to become of the process, and what became of it: Solaris and illumos
 *
 * The one header between the N-API glue (addon.c) and the core. Credentials belong to the process here, so there is
 * one list of steps and nobody to be stopped for it. Whoever fills in a plan has decided everything.
 *
 * Names are those of the manual: getppriv(2), priv_str_to_set(3C), privileges(7). Errors are errno values of this
 * system; 0 is success.
 */
#ifndef PRIVDROP_SUNOS_CORE_H
#define PRIVDROP_SUNOS_CORE_H

#include <priv.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Everything that this package asks of the kernel, in the order in which it asks. */
enum step {
	STEP_NONE,

	STEP_OBSERVE,     /* what the process is */
	STEP_MEMORY,      /* for sets, and for what is read back */
	STEP_PROC,        /* look at everything that is open; */
	STEP_DESCRIPTORS,
	STEP_FSTAT,     /* and what then is refused: */
	STEP_DIRECTORY,
	STEP_CHILD, /* make and await the child that rehearses */
	STEP_MASK,  /* block the main thread's signals, and unblock them */

	STEP_SIGUSR1, /* the line: from here on there is no way back; steps.c */
	STEP_PROTECT,
	STEP_SETGROUPS,
	STEP_SETGID,
	STEP_FCHDIR,
	STEP_CHROOT,
	STEP_CHDIR,
	STEP_SETPFLAGS,
	STEP_SETUID,
	STEP_XPOLICY,
	STEP_PFEXEC,
	STEP_PERMITTED,
	STEP_LIMIT,
	STEP_EFFECTIVE,

	STEP_REGAIN, /* in the rehearsal: what must not succeed any more, */
	STEP_READ,   /* and what must: plan->attempts */
	STEP_WRITE,
	STEP_BIND,
	STEP_READ_BACK, /* what the kernel says of the process */
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
	int item;  /* the descriptor that it is about, or the place in plan->attempts */
};

/* What the new identity must be able to use. */
struct attempt {
	enum step step; /* STEP_READ, STEP_WRITE, STEP_BIND */
	char *path;     /* of the first two */
	uint16_t port;  /* of the last */
};

struct plan {
	uint32_t steps; /* bit (1 << STEP_...) set: the step is to be done */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* exactly these supplementary groups */
	size_t group_count;
	priv_set_t *permitted, *limit, *effective;
	int root;          /* the directory for chroot(2), open; only for STEP_CHROOT */
	bool keep_sigusr1; /* the application listens for it: its disposition stays */
	const struct attempt *attempts;
	size_t attempt_count;
};

enum { SET_PERMITTED, SET_LIMIT, SET_EFFECTIVE, SET_INHERITABLE, SET_COUNT };

/* What the process is. One piece of memory, so that a child can leave it in a map that it shares. */
struct state {
	uid_t user[3]; /* real, effective, saved */
	gid_t group[3];
	uint_t flags;         /* getpflags(2): PRIV_AWARE, PRIV_XPOLICY, PRIV_PFEXEC */
	bool protect;         /* it has been protected (protect_process); the kernel does not tell */
	bool sigusr1_ignored; /* sigaction(2) */
	size_t groups_max;    /* how many groups this system allows, and how many there is room for */
	size_t group_count;
	size_t text_size;
	gid_t groups[]; /* in the kernel's order; then for each set the names of its privileges: set_text() */
};

struct reading {
	struct state *state;
	bool jailed;                /* the process's root and working directory are plan->root */
	uint32_t apply_us, read_us; /* microseconds */
};

/* steps.c: 0, or -1 with *now the step that failed. *now always names the step under way, so that whoever finds this process
 * dead knows where it died. */
int apply_steps(const struct plan *plan, struct failure *now);
/* Processes of the same user cannot look into this one (setpflags(2)). 0, or -1 with errno. */
int protect_process(void);
bool is_protected(void);

/* observe.c. How much memory a state takes; 0 with errno: this system does not say. */
size_t state_size(void);
/* `state` has so many bytes. 0, or -1 with errno. */
int observe_process(struct state *state, size_t size);
/* One of the process's own, with all its bits, of which some have no name; priv_freeset() it. NULL with errno. */
priv_set_t *read_privileges(unsigned set);
/* Names of privileges without priv_, with commas in between; '' is the empty set. */
char *set_text(struct state *state, unsigned set);
/* Are root and working directory this open directory? */
bool is_jailed(int root);
/* Of any thread of this process, dead or alive (waitid(2)). */
bool has_children(void);

/* privileges.c. As an administrator writes it, or with commas alone. NULL: no memory, or with *bad a token that is unknown. */
priv_set_t *privileges_from_text(const char *text, const char **bad);
/* free() it; as in set_text(). NULL: no memory. */
char *privileges_to_text(const priv_set_t *set);

/* descriptors.c: each listening socket, as many as there is room for; returns how many there are. -1: it could not look, or a
 * directory is open beside `root`. */
long list_listeners(int root, int *found, size_t room, struct failure *why);

/* attempts.c: by the rehearsing child, as the new identity. 0: what must fail has failed, and what must not has not. `held`: the
 * permitted set that it had before. */
int try_as_new_identity(const struct plan *plan, const priv_set_t *held, struct failure *now);

/* rehearse.c, commit.c: 0, or -1 with *why filled in and nothing changed. Past the line commit() does not return an error: it
 * ends the process. Then reading->state is to be freed by release_reading(). */
int rehearse(const struct plan *plan, struct reading *reading, struct failure *why);
int commit(const struct plan *plan, struct reading *reading, struct failure *why);
void release_reading(struct reading *reading);

/* One line on file descriptor 2, then SIGABRT. For a process that must not go on. */
_Noreturn void end_process(const char *line, size_t length);
/* The same, with errno. */
_Noreturn void end_here(enum step step);

#endif
