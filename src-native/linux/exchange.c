/*
 * exchange.c - could another process of the new user put something else in the place of what a path names?
 *
 * The process that answers is a child of the rehearsing child, made before the chroot. It shares the memory, so that no
 * map is copied, and the open files, so that its end closes none of them: a close may wait for a dead file system. Its
 * parent is the server, which can end and reap it when such a file system holds it. Its real ids are the new ones and
 * its groups all that the new user has; its effective user stays, to reach what root reaches. access(2) answers for the
 * real ids, without capabilities.
 *
 * A component can be exchanged in a folder that the new user can write and search (in a sticky one: only by the owner
 * of the component), or that belongs to the new user, who can change its mode.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ECHILD: a process of the new user may kill the one that answers, because their real user is the same. */
enum { NOT_ANSWERED = ECHILD, OVERFLOW_ID = 65534, SECBIT_NO_SETUID_FIXUP = 1 << 2 };

struct asking {
	const struct plan *plan;
	struct exchange *exchange;
	struct answer *answers;
};

/* A folder on the way. */
struct folder {
	unsigned serial;          /* which folder this is: struct walk */
	bool is_users, is_others; /* the new user owns it; a user other than root does */
	bool writable;            /* by the new user, who can search it too */
	bool shared;              /* its group or all users may write */
	bool sticky;
};

/* The context of judge(). */
struct inquiry {
	const struct plan *plan;
	bool last_too;
	struct exchange *exchange;
	struct answer *answer;
	int unknown; /* errno of a call that failed, so that the question stays open */
	struct folder folders[WALK_DEPTH_MAX];
};

int open_folder(int folder, const char *name)
{
	return openat(folder, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
}

int is_on_proc(int folder)
{
	struct statfs system;

	return fstatfs(folder, &system) ? -1 : system.f_type == PROC_SUPER_MAGIC;
}

/* The first user namespace maps them all in one line (user_namespaces(7)). */
static bool maps_every_id(void)
{
	char text[64] = "";

	return read_file(AT_FDCWD, "/proc/self/uid_map", text, sizeof text - 1) > 0 && strstr(text, " 4294967295");
}

/* An id that is not mapped in this user namespace looks like OVERFLOW_ID (user_namespaces(7)). open(2) with O_NOATIME
 * is for the owner, or for a capability that counts only where the owner is mapped: so it tells the two apart. */
static bool is_unmapped(int folder, const char *name, uid_t owner)
{
	int file;

	if (owner != OVERFLOW_ID || maps_every_id())
		return false;
	if ((file = openat(folder, name, O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return true;
	close(file);
	return false;
}

static bool belongs_to_user(const struct plan *plan, int folder, const char *name, uid_t owner)
{
	return owner == plan->uid && !is_unmapped(folder, name, owner);
}

/* EPERM: the file is immutable, or a filter refuses every such call. */
static bool is_writable(struct inquiry *inquiry, int folder, const char *name, int mode)
{
	if (!syscall(SYS_faccessat, folder, name, mode))
		return true;
	if (errno != EACCES && errno != EROFS && (errno != EPERM || syscall(SYS_faccessat, folder, name, F_OK)))
		inquiry->unknown = errno;
	return false;
}

static bool is_of_others(int folder, const char *name, uid_t owner)
{
	return owner != 0 && !is_unmapped(folder, name, owner);
}

static const struct folder *look_at_folder(const struct walk *walk, struct inquiry *inquiry)
{
	struct folder *folder = &inquiry->folders[walk->depth];
	int descriptor = walk->folders[walk->depth];
	struct statx found;

	if (folder->serial == walk->serials[walk->depth])
		return folder;
	if (syscall(SYS_statx, descriptor, "", AT_EMPTY_PATH, STATX_UID | STATX_MODE, &found))
		return NULL;
	*folder = (struct folder){
		.serial = walk->serials[walk->depth],
		.is_users = belongs_to_user(inquiry->plan, descriptor, ".", found.stx_uid),
		.is_others = is_of_others(descriptor, ".", found.stx_uid),
		.writable = is_writable(inquiry, descriptor, ".", W_OK | X_OK),
		.shared = found.stx_mode & (S_IWGRP | S_IWOTH),
		.sticky = found.stx_mode & S_ISVTX,
	};
	return folder;
}

/* Who can put something else in the place of this component, which belongs to `owner`? */
static enum exchanged_by judge_folder(const struct plan *plan, const struct folder *folder, int descriptor, const char *name,
                                      uid_t owner)
{
	if (folder->is_users || (folder->writable && (!folder->sticky || belongs_to_user(plan, descriptor, name, owner))))
		return EXCHANGED_BY_USER;
	if (folder->is_others || (folder->shared && (!folder->sticky || is_of_others(descriptor, name, owner))))
		return EXCHANGED_BY_OTHERS;
	return EXCHANGED_BY_NONE;
}

/* Can the new user write to the file itself, or change its mode as its owner? */
static bool is_users_own(struct inquiry *inquiry, int folder, const char *name, uid_t owner)
{
	return belongs_to_user(inquiry->plan, folder, name, owner) || is_writable(inquiry, folder, name, W_OK);
}

static int keep_found(struct exchange *exchange, const char *text)
{
	int size = (int)strlen(text) + 1;
	int at = exchange->found_size;

	if (at + size > FOUND_SIZE)
		return -1; /* no room: the answer stands without its path */
	memcpy(exchange->found + at, text, (size_t)size);
	exchange->found_size += size;
	return at;
}

/* Records the first component that others can exchange, unless the new user can exchange a later one. Ends the walk where
 * nothing more can be found: at a component that the new user can exchange, and at a file. */
static bool judge(struct walk *walk, const char *name, bool last)
{
	struct inquiry *inquiry = walk->context;
	const struct folder *judged = look_at_folder(walk, inquiry);
	int folder = walk->folders[walk->depth];
	struct statx component;
	enum exchanged_by by;

	if (!judged || syscall(SYS_statx, folder, name, AT_SYMLINK_NOFOLLOW, STATX_UID | STATX_TYPE, &component)) {
		inquiry->unknown = errno;
		return false; /* if the component does not exist, the walk fails too */
	}
	by = judge_folder(inquiry->plan, judged, folder, name, component.stx_uid);
	/* A file is the last component, or an archive that holds the rest (app.zip/lib/index.js). */
	if (by != EXCHANGED_BY_USER && inquiry->last_too && !S_ISLNK(component.stx_mode) &&
	    (last || !S_ISDIR(component.stx_mode)) && is_users_own(inquiry, folder, name, component.stx_uid))
		by = EXCHANGED_BY_WRITER;
	if (by != EXCHANGED_BY_NONE && (by != EXCHANGED_BY_OTHERS || inquiry->answer->by == EXCHANGED_BY_NONE)) {
		inquiry->answer->by = by;
		inquiry->answer->found = keep_found(inquiry->exchange, walk->at);
	}
	return by == EXCHANGED_BY_USER || by == EXCHANGED_BY_WRITER || (last && S_ISREG(component.stx_mode));
}

static void ask_about(struct walk *walk, const struct question *question, struct answer *answer)
{
	struct inquiry *inquiry = walk->context;
	enum walked how;

	answer->by = EXCHANGED_BY_NONE;
	answer->found = -1;
	inquiry->last_too = question->number != 0;
	inquiry->answer = answer;
	inquiry->unknown = 0;
	how = walk_path(walk, question->path);
	answer->error = how == WALK_FAILED ? errno : inquiry->unknown; /* no longer NOT_ANSWERED */
}

/* Before Linux 5.16 a signal that kills this process also kills the rehearsing child, which has the same memory: *now
 * has the step. */
static int become_another_process(const struct plan *plan, struct failure *now)
{
	struct capability_sets held = plan->held;
	/* An unmapped effective user would own the very files that is_unmapped() asks about. */
	uid_t effective = !maps_every_id() && geteuid() == OVERFLOW_ID ? plan->uid : (uid_t)-1;

	/* A call is left out if the plan does not have it and this process may not make it: a filter may kill for it. A
	 * process that may not change its groups answers with those it has; where one of the account's is not mapped in this
	 * user namespace, with the plan's. */
	now->step = STEP_SETGROUPS;
	if (plan->held.effective >> CAP_SETGID & 1 &&
	    syscall(SYS_setgroups, plan->account_group_count, plan->account_groups) && errno == EINVAL)
		syscall(SYS_setgroups, plan->group_count, plan->groups);
	now->step = STEP_SETRESGID;
	if (has_step(plan->steps, STEP_SETRESGID) && syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid))
		return -1;
	now->step = STEP_SETRESUID;
	if (has_step(plan->steps, STEP_SETRESUID) && syscall(SYS_setresuid, plan->uid, effective, -1))
		return -1;
	/* With this bit set, access(2) counts effective capabilities. The permitted ones stay: this process shares the memory of
	 * the rehearsing child, and they keep other processes of the user from tracing it (ptrace(2)). */
	now->step = STEP_CAPSET;
	held.effective = 0;
	return plan->securebits & SECBIT_NO_SETUID_FIXUP ? (int)set_capabilities(&held) : 0;
}

static int answer_all(void *context)
{
	const struct asking *asking = context;
	struct failure *now = &asking->exchange->now;
	const struct plan *plan = asking->plan;
	struct inquiry inquiry = {.plan = plan, .exchange = asking->exchange};
	struct walk walk = {.judge = judge, .context = &inquiry};
	int error;

	now->call = NULL;
	error = become_another_process(plan, now) ? errno : 0;
	now->step = STEP_EXCHANGE;
	begin_walk(&walk);
	for (size_t i = 0; i < plan->question_count; i++) {
		if (plan->questions[i].kind != STEP_EXCHANGE)
			continue;
		now->item = (int)i;
		if (error)
			asking->answers[i].error = error;
		else
			ask_about(&walk, &plan->questions[i], &asking->answers[i]);
	}
	end_walk(&walk);
	exit_now(0);
}

int ask_exchange(const struct plan *plan, struct exchange *exchange, struct answer *answers)
{
	struct asking asking = {plan, exchange, answers};
	bool any = false;

	for (size_t i = 0; i < plan->question_count; i++)
		if (plan->questions[i].kind == STEP_EXCHANGE) {
			answers[i].error = NOT_ANSWERED;
			any = true;
		}
	if (!any)
		return 0;
	exchange->now = (struct failure){.step = STEP_EXCHANGE, .call = "clone"};
	if (clone(answer_all, exchange->stack + EXCHANGE_STACK_SIZE,
	          CLONE_VM | CLONE_FILES | CLONE_VFORK | CLONE_PARENT | CLONE_PARENT_SETTID, &asking,
	          (pid_t *)&exchange->helper) < 0)
		return -1;
	/* If the helper was killed before it began to answer, the filter kills this process at the same call, which says
	 * more. */
	if (exchange->now.step != STEP_EXCHANGE)
		return 0;
	/* Here and not later: the helper's folders are still open in this process. */
	errno = NOT_ANSWERED;
	for (size_t i = 0; i < plan->question_count; i++)
		if (plan->questions[i].kind == STEP_EXCHANGE && answers[i].error == NOT_ANSWERED)
			return -1;
	return 0;
}

int open_root(const char *path, char *walked, struct failure *why)
{
	struct walk walk = {0};
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
