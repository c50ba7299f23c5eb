/*
 * sunos.h - the plan of the process, its state, and the results: Solaris and illumos
 *
 * Credentials belong to the process here, so there is one list of steps, and no thread is stopped for it. First what
 * the glue (addon.c) calls, then what the core keeps to itself.
 *
 * Names are those of the manual: getppriv(2), priv_str_to_set(3C), privileges(7).
 */
#ifndef PRIVDROP_SUNOS_H
#define PRIVDROP_SUNOS_H

#include "../shared.h"

#include <priv.h>

/* An open directory that the rehearsing child found inside the new root. */
struct directory {
	int descriptor;
	dev_t device;
	ino_t inode;
};

struct plan {
	step_set steps;
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* exactly these supplementary groups, ascending */
	size_t group_count;
	const gid_t *account_groups; /* for STEP_EXCHANGE: `groups` and those of the new user's account */
	size_t account_group_count;
	priv_set_t *permitted, *limit, *effective; /* the expected sets, whether or not their steps are due */
	int root;          /* the directory for chroot(2), open; only for STEP_CHROOT */
	bool keep_sigusr1; /* the application's handler is installed: it stays */
	const struct question *questions;
	size_t question_count;

	const char *before;             /* the process's state (write_state()) when this plan was made */
	const char *expected;           /* for the commit: the rehearsing child's state, which TypeScript has checked */
	const struct directory *inside; /* for the commit, from the rehearsal */
	size_t inside_count;
	volatile uint8_t *kept;         /* set to 1 by the commit once the process is proved */
};

enum { SET_PERMITTED, SET_LIMIT, SET_EFFECTIVE, SET_INHERITABLE, SET_COUNT };

/* The state of the process. One piece of memory, so that a child can leave it in shared memory. */
struct state {
	uid_t user[3]; /* real, effective, saved */
	gid_t group[3];
	uint_t flags;             /* getpflags(2): PRIV_AWARE, PRIV_XPOLICY, PRIV_PFEXEC */
	bool unnamed[SET_COUNT];  /* the set has bits without a name */
	size_t size;              /* of the whole, which is also room enough for its text */
	size_t groups_max;        /* how many groups this system allows; there is room for as many */
	size_t group_count;
	size_t names_size;        /* of each set */
	gid_t groups[];           /* in the kernel's order; then the names of each set: set_names() */
};

/* What the rehearsing child left behind. Valid until release_rehearsal(). */
struct rehearsal {
	struct state *state;
	bool jailed;                  /* its root and its working directory are plan->root */
	const struct answer *answers; /* one for each question */
	const char *found;            /* paths, one after the other: answer.found is an offset in it */
	const struct directory *inside;
	size_t inside_count;
	void *memory;
	size_t memory_size;
};

struct committed {
	uint32_t apply_us, read_us; /* microseconds */
};

/* rehearse.c, commit.c: 0, or -1 with *why filled in and nothing changed. Past the line commit() does not return an
 * error: it ends the process. */
int rehearse(const struct plan *plan, struct rehearsal *rehearsal, struct failure *why);
int commit(const struct plan *plan, struct committed *done, struct failure *why);
void release_rehearsal(struct rehearsal *rehearsal);

/* observe.c. How much memory a state takes; 0 with errno: the system does not tell. */
size_t state_size(void);
/* `state` has `size` bytes. 0, or -1 with errno. */
int observe_process(struct state *state, size_t size);
/* The names of a set's privileges without "priv_", separated by commas; '' is the empty set. */
char *set_names(struct state *state, unsigned set);
/* The state as text, by which two states are compared: at most state->size bytes. */
void write_state(struct state *state, char *text);
/* Is the process in the state of this text? 0; -1 with errno, which is 0 if it is not. `state` and `text` have `size`
 * bytes each. */
int compare_process(struct state *state, size_t size, char *text, const char *wanted);
/* One of the process's sets, with all its bits, some of which may have no name; priv_freeset() it. NULL with errno. */
priv_set_t *read_privileges(unsigned set);
/* Has any thread of this process a child, running or ended (waitid(2))? */
bool has_children(void);

/* privileges.c. As an administrator writes it, or with commas alone. NULL: no memory, or *bad points to an unknown
 * name. */
priv_set_t *privileges_from_text(const char *text, const char **bad);
/* free() it; as set_names(). NULL: no memory. */
char *privileges_to_text(const priv_set_t *set);

/* descriptors.c: list the listening sockets, at most `room` of them; returns how many there are. -1: they cannot be
 * listed. */
long list_listeners(int *found, size_t room, struct failure *why);

/* signals.c. Ignore SIGUSR1, on which Node opens its inspector, until give_sigusr1_back(), unless the application's own
 * handler is installed; `listened`: `process` has a listener. 0: ignored; 1: the application's handler stays; -1 with
 * errno. */
int hold_sigusr1(bool listened);
int give_sigusr1_back(void);
enum disposition { IGNORED, CAUGHT, DEFAULT, UNKNOWN };
enum disposition sigusr1_disposition(void);

/* ---- what the core keeps to itself ---- */

/* steps.c: in this order. 0, or -1 with *now the step that failed. *now names each step before it is taken, so that it
 * tells where the process was killed. */
int protect_process(const struct plan *plan, struct failure *now);
int apply_groups(const struct plan *plan, struct failure *now);
int change_root(const struct plan *plan, struct failure *now);
int apply_identity(const struct plan *plan, struct failure *now);

/* observe.c. Has the process exactly the plan's sets, bits without a name included? */
bool has_sets(const struct plan *plan);
/* Are root and working directory this open directory? */
bool is_jailed(int root);

/* descriptors.c. How many descriptors are open; -1: they cannot be listed. No file system is asked. */
long count_descriptors(struct failure *why);
/* List the open directories but the root itself, at most `room` of them; returns how many there are. -1: they cannot be
 * listed. */
long list_directories(int root, struct directory *found, size_t room, struct failure *why);
/* By the child, in the new root: 0; 1: one of them is outside; -1: chdir(2) failed. */
int enter_directories(const struct directory *directories, size_t count, struct failure *now);
/* 0: every open directory is on the list of those inside. */
int refuse_directories(const struct plan *plan, struct failure *why);

/* exchange.c: answer every question of STEP_EXCHANGE, in a child that then ends: it becomes another process of the new
 * user. */
enum { FOUND_SIZE = 32 * 1024 };
struct found {
	int size;
	char text[FOUND_SIZE];
};
int ask_exchange(const struct plan *plan, struct found *found, struct answer *answers, struct failure *now);

/* signals.c */
int ignore_sigusr1(void);
/* 0: SIGUSR1 is ignored, or has the application's handler if the plan keeps it. */
int check_sigusr1(bool kept);

#endif
