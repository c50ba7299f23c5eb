/*
 * shared.h - C that both systems share (end.c, child.c, questions.c, walk.c), and what each system implements for it
 */
#ifndef PRIVDROP_SHARED_H
#define PRIVDROP_SHARED_H

#include "plan.h"

/* end.c: the end of the process, past the line or where a refusal would leave something changed.
 * One line on file descriptor 2, then SIGABRT. end_here() takes errno. */
_Noreturn void end_here(enum step step);
_Noreturn void end_at(const struct failure *why);
_Noreturn void end_unequal(enum step step, pid_t tid, const char *wanted, const char *found);
_Noreturn void end_process(const char *reason);

/* child.c: wait for the rehearsing child, which holds the other end of the pipe. 0: it has ended; -1 with errno or
 * signal in *why: it was killed, or still exists. */
int await_child(pid_t child, int end_of_child, struct failure *why);
/* End a helper of the rehearsing child if it still exists; the wait is bounded. */
void end_helper(pid_t helper);

/* questions.c: answer, in the rehearsing child and as the new identity, every question but STEP_EXCHANGE. *now is the
 * one under way. */
void ask_questions(const struct question *questions, size_t count, struct answer *answers, struct failure *now);

/* walk.c: an absolute path, component by component, links followed by hand. The folders on the way stay open, so that
 * the next path begins where it parts from this one. */
enum { WALK_PATH_MAX = 4096, WALK_DEPTH_MAX = 256 };
struct walk {
	/* Called before each component but "." and ".." is entered; walk->folders[walk->depth] is the folder that holds it.
	 * true: stop. May be NULL. */
	bool (*judge)(struct walk *walk, const char *name, bool last);
	void *context;
	bool on_proc; /* the walk stopped at a link on procfs, whose text is not where it leads */
	int depth;    /* -1: no folder is open */
	int folders[WALK_DEPTH_MAX];
	unsigned serials[WALK_DEPTH_MAX], serial; /* a new one for each folder opened */
	size_t ends[WALK_DEPTH_MAX]; /* where the text of each folder ends in `at` */
	char at[WALK_PATH_MAX];      /* the path reached, without links; after a stop or failure, with that component */
	char rest[WALK_PATH_MAX];    /* what is still to be walked */
};
enum walked {
	WALKED_TO_FOLDER, /* walk->folders[walk->depth] */
	WALKED_TO_FILE,   /* in that folder */
	WALK_STOPPED,     /* by judge() */
	WALK_FAILED       /* errno */
};
void begin_walk(struct walk *walk);
enum walked walk_path(struct walk *walk, const char *path);
void end_walk(struct walk *walk);

/* What each system implements. */
pid_t this_thread(void);
/* The type bits (stat(2), S_IFMT) of an open descriptor or of what a path leads to, or -1 with errno. The first must
 * not wait for a file system. */
int type_of_descriptor(int descriptor);
int type_of_path(const char *path);
/* A descriptor of this folder below another; a link is not followed. -1: openat(2)'s errno, ENOTDIR or ELOOP if it is
 * no folder. */
int open_folder(int folder, const char *name);
int is_on_proc(int folder); /* 1, 0, or -1 with errno */
/* May the calling process, with its capabilities or privileges, access it in this mode (access(2), R_OK, W_OK, X_OK)?
 * 0, or -1 with errno. */
int may_access(const char *path, int mode);
int may_reopen(int descriptor);
/* waitpid(2) of any child, clone(2) children too. */
pid_t wait_for(pid_t child, int *status, int options);
/* Close every socket and pipe but these two: a child that a dead file system holds must keep no listener. Files stay
 * open, because closing one may wait for its file system. 0, or -1 with errno. */
int close_sockets_and_pipes(int keep, int keep_too);
/* For end.c. Block every signal. */
void deafen(void);
/* A child that writes the line. On Linux it runs in the memory of this process. */
pid_t start_writer(void (*write_line)(void));
/* End the process by SIGABRT's default action; returns where the signal has no effect. */
void abort_thread(void);
_Noreturn void exit_now(int status);

#endif
