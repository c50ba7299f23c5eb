/*
 * exchange.c - could another process of the new user put something else in the place of what a path names?
 *
 * A child becomes such a process for good, with the ids and all groups of the new user, and answers. To reach what root
 * reaches it keeps its privileges, and reduces them to the basic ones for each question.
 *
 * A component can be exchanged in a folder that the new user can write and search (in a sticky one: only by the owner of the
 * component), or that belongs to that user, who can change its mode.
 */
#include "sunos.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The context of judge(). */
struct inquiry {
	const struct plan *plan;
	bool last_too;
	struct found *found;
	struct answer *answer;
	priv_set_t *all, *basic; /* of the child */
	struct stat folder;      /* the folder that was judged last; */
	unsigned serial;         /* which folder that is: struct walk */
	bool writable;           /* by the new user, who can search it too */
};

int open_folder(int folder, const char *name)
{
	return openat(folder, name, O_RDONLY | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
}

int is_on_proc(int folder)
{
	struct stat found;

	return fstat(folder, &found) ? -1 : !strcmp((const char *)found.st_fstype, "proc");
}

/* Asks as a process that has the basic privileges alone. */
static bool is_writable(const struct inquiry *inquiry, int folder, const char *name, int mode)
{
	bool yes;

	if (setppriv(PRIV_SET, PRIV_EFFECTIVE, inquiry->basic))
		return true; /* in doubt it counts as writable */
	yes = !faccessat(folder, name, mode, 0);
	return setppriv(PRIV_SET, PRIV_EFFECTIVE, inquiry->all) || yes;
}

/* Who can put something else in the place of a component of this folder, which belongs to `owner`? */
static enum exchanged_by judge_folder(struct inquiry *inquiry, int descriptor, unsigned serial, uid_t owner)
{
	const struct stat *folder = &inquiry->folder;
	uid_t user = inquiry->plan->uid;
	bool sticky;

	if (inquiry->serial != serial) {
		if (fstat(descriptor, &inquiry->folder))
			return EXCHANGED_BY_NONE; /* the walk fails too */
		inquiry->serial = serial;
		inquiry->writable = is_writable(inquiry, descriptor, ".", W_OK | X_OK);
	}
	sticky = folder->st_mode & S_ISVTX;
	if (folder->st_uid == user || (inquiry->writable && (!sticky || owner == user)))
		return EXCHANGED_BY_USER;
	if (folder->st_uid != 0 || (folder->st_mode & (S_IWGRP | S_IWOTH) && (!sticky || owner != 0)))
		return EXCHANGED_BY_OTHERS;
	return EXCHANGED_BY_NONE;
}

static int keep_found(struct found *found, const char *text)
{
	int size = (int)strlen(text) + 1;
	int at = found->size;

	if (at + size > FOUND_SIZE)
		return -1; /* no room: the answer stands without its path */
	memcpy(found->text + at, text, (size_t)size);
	found->size += size;
	return at;
}

/* Records the first component that others can exchange, unless the new user can exchange a later one. */
static bool judge(struct walk *walk, const char *name, bool last)
{
	struct inquiry *inquiry = walk->context;
	int folder = walk->folders[walk->depth];
	struct stat component;
	enum exchanged_by by;

	if (fstatat(folder, name, &component, AT_SYMLINK_NOFOLLOW))
		return false; /* if the component does not exist, the walk fails too */
	by = judge_folder(inquiry, folder, walk->serials[walk->depth], component.st_uid);
	/* A file is the last component, or an archive that holds the rest (app.zip/lib/index.js). */
	if (by != EXCHANGED_BY_USER && inquiry->last_too && !S_ISLNK(component.st_mode) && (last || !S_ISDIR(component.st_mode)) &&
	    (component.st_uid == inquiry->plan->uid || is_writable(inquiry, folder, name, W_OK)))
		by = EXCHANGED_BY_WRITER;
	if (by != EXCHANGED_BY_NONE && (by != EXCHANGED_BY_OTHERS || inquiry->answer->by == EXCHANGED_BY_NONE)) {
		inquiry->answer->by = by;
		inquiry->answer->found = keep_found(inquiry->found, walk->at);
	}
	return by == EXCHANGED_BY_USER || by == EXCHANGED_BY_WRITER;
}

/* Privilege-aware first, so that the change of ids keeps the privileges. */
static int become_another_process(const struct plan *plan, struct inquiry *inquiry)
{
	const char *bad;

	if (setpflags(PRIV_AWARE, 1) || !(inquiry->all = read_privileges(SET_PERMITTED)) ||
	    !(inquiry->basic = privileges_from_text("basic", &bad)))
		return -1;
	priv_intersect(inquiry->all, inquiry->basic);
	/* Refused where the process may not change its groups; it then answers with those it has. */
	setgroups((int)plan->account_group_count, plan->account_groups);
	return setgid(plan->gid) || setuid(plan->uid) || setppriv(PRIV_SET, PRIV_EFFECTIVE, inquiry->all) ? -1 : 0;
}

int ask_exchange(const struct plan *plan, struct found *found, struct answer *answers, struct failure *now)
{
	struct inquiry inquiry = {.plan = plan, .found = found};
	struct walk walk = {.judge = judge, .context = &inquiry};
	int error = become_another_process(plan, &inquiry) ? errno : 0;

	begin_walk(&walk);
	for (size_t i = 0; i < plan->question_count; i++) {
		const struct question *question = &plan->questions[i];

		if (question->kind != STEP_EXCHANGE)
			continue;
		now->step = STEP_EXCHANGE;
		now->item = (int)i;
		inquiry.last_too = question->number != 0;
		inquiry.answer = &answers[i];
		answers[i].by = EXCHANGED_BY_NONE;
		answers[i].found = -1;
		if (error || walk_path(&walk, question->path) == WALK_FAILED)
			answers[i].error = error ? error : errno;
	}
	return 0;
}

int open_root(const char *path, char *walked, struct failure *why)
{
	struct walk walk = {.judge = NULL};
	enum walked how;
	int root = -1;

	begin_walk(&walk);
	how = walk_path(&walk, path);
	*why = (struct failure){.step = STEP_CHROOT, .error = errno, .call = "openat"};
	if (walk.on_proc)
		*why = (struct failure){.step = STEP_LINK};
	strcpy(walked, walk.at[0] ? walk.at : "/"); /* of equal size: NOLINT(clang-analyzer-security.insecureAPI.strcpy) */
	if (how == WALKED_TO_FOLDER)
		root = walk.folders[walk.depth--]; /* stays open; end_walk() closes the folders on the way */
	end_walk(&walk);
	return root;
}
