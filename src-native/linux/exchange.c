/*
 * exchange.c - could another process of the new user put something else in the place of what a path names?
 *
 * The process that answers is a child of the rehearsing child, made before the chroot. It shares the memory, so that no map
 * is copied; its parent is the server, which can end and reap it when a dead file system holds it. Its real ids are the new
 * ones and its groups all that the new user has; its effective user stays, to reach what root reaches. access(2) answers for
 * the real ids, without capabilities.
 *
 * A component can be exchanged in a folder that the new user can write and search (in a sticky one: only by the owner of the
 * component), or that belongs to him, for he can change its mode.
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

enum { OVERFLOW_ID = 65534, SECBIT_NO_SETUID_FIXUP = 1 << 2 };

struct asking {
	const struct plan *plan;
	struct exchange *exchange;
	struct answer *answers;
};

/* What judge() is given. */
struct case_of {
	const struct asking *asking;
	bool last_too;
	struct answer *answer;
};

int open_folder(int folder, const char *name)
{
	return openat(folder, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
}

bool is_on_proc(int folder)
{
	struct statfs system;

	return !fstatfs(folder, &system) && system.f_type == PROC_SUPER_MAGIC;
}

/* The first user namespace does, in one line (user_namespaces(7)). */
static bool maps_every_id(void)
{
	char text[64] = "";

	return read_file(AT_FDCWD, "/proc/self/uid_map", text, sizeof text - 1) > 0 && strstr(text, " 4294967295");
}

/* In a user namespace an id that is not mapped looks like this one (user_namespaces(7)). open(2), O_NOATIME, is for the owner,
 * or for a capability that counts where the owner is mapped: it tells the two apart. */
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

static bool is_writable(int folder, const char *name, int mode)
{
	return !syscall(SYS_faccessat, folder, name, mode);
}

static bool is_of_others(int folder, const char *name, uid_t owner)
{
	return owner != 0 && !is_unmapped(folder, name, owner);
}

/* Who can exchange this component of this folder? */
static enum exchanged_by judge_component(const struct plan *plan, int folder, const char *name)
{
	struct statx in, component;
	bool sticky;

	if (syscall(SYS_statx, folder, "", AT_EMPTY_PATH, STATX_UID | STATX_MODE, &in) ||
	    syscall(SYS_statx, folder, name, AT_SYMLINK_NOFOLLOW, STATX_UID, &component))
		return EXCHANGED_BY_NONE; /* it is not there: the walk says so */
	sticky = in.stx_mode & S_ISVTX;
	if (belongs_to_user(plan, folder, ".", in.stx_uid))
		return EXCHANGED_BY_USER;
	if (is_writable(folder, ".", W_OK | X_OK) && (!sticky || belongs_to_user(plan, folder, name, component.stx_uid)))
		return EXCHANGED_BY_USER;
	if (is_of_others(folder, ".", in.stx_uid) ||
	    (in.stx_mode & (S_IWGRP | S_IWOTH) && (!sticky || is_of_others(folder, name, component.stx_uid))))
		return EXCHANGED_BY_OTHERS;
	return EXCHANGED_BY_NONE;
}

/* What the path leads to: the new user can write to it, or owns it and can change its mode. */
static bool is_users_own(const struct plan *plan, int folder, const char *name)
{
	struct statx component;

	if (syscall(SYS_statx, folder, name, AT_SYMLINK_NOFOLLOW, STATX_UID | STATX_TYPE, &component) ||
	    S_ISLNK(component.stx_mode))
		return false; /* a link is what it leads to */
	return belongs_to_user(plan, folder, name, component.stx_uid) || is_writable(folder, name, W_OK);
}

static int keep_found(struct exchange *exchange, const char *text)
{
	int size = (int)strlen(text) + 1;
	int at = exchange->found_size;

	if (at + size > FOUND_SIZE)
		return -1; /* there are more than anybody will read */
	memcpy(exchange->found + at, text, (size_t)size);
	exchange->found_size += size;
	return at;
}

/* The first component that others can exchange is kept, unless the new user can exchange one further on. */
static bool judge(struct walk *walk, int folder, const char *name, bool last)
{
	const struct case_of *asked = walk->context;
	const struct plan *plan = asked->asking->plan;
	enum exchanged_by by = judge_component(plan, folder, name);

	if (by != EXCHANGED_BY_USER && last && asked->last_too && is_users_own(plan, folder, name))
		by = EXCHANGED_BY_USER;
	if (by == EXCHANGED_BY_USER || (by == EXCHANGED_BY_OTHERS && asked->answer->by == EXCHANGED_BY_NONE)) {
		asked->answer->by = by;
		asked->answer->found = keep_found(asked->asking->exchange, walk->at);
	}
	return by == EXCHANGED_BY_USER;
}

static void ask_about(const struct asking *asking, const struct question *question, struct answer *answer)
{
	struct case_of asked = {asking, question->number != 0, answer};
	struct walk walk = {.judge = judge, .context = &asked};
	enum walked how;
	int reached;

	answer->by = EXCHANGED_BY_NONE;
	answer->found = -1;
	how = walk_path(&walk, question->path, &reached);
	answer->error = how == WALK_FAILED ? errno : 0;
	if (how == WALKED_TO_FOLDER || how == WALKED_TO_FILE)
		close(reached);
}

static int become_another_process(const struct plan *plan)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

	/* Refused where the process may not change its groups: then they are what every process of the user starts with. */
	syscall(SYS_setgroups, plan->account_group_count, plan->account_groups);
	if (syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid) || syscall(SYS_setresuid, plan->uid, -1, -1))
		return -1;
	/* With this bit access(2) counts capabilities. */
	return plan->securebits & SECBIT_NO_SETUID_FIXUP ? (int)syscall(SYS_capset, &header, none) : 0;
}

static int answer_all(void *context)
{
	const struct asking *asking = context;
	struct failure *now = &asking->exchange->now;
	const struct plan *plan = asking->plan;
	int error = become_another_process(plan) ? errno : 0;

	for (size_t i = 0; i < plan->question_count; i++) {
		if (plan->questions[i].kind != STEP_EXCHANGE)
			continue;
		now->item = (int)i;
		asking->answers[i].error = error;
		if (!error)
			ask_about(asking, &plan->questions[i], &asking->answers[i]);
	}
	exit_now(0);
}

int ask_exchange(const struct plan *plan, struct exchange *exchange, struct answer *answers)
{
	struct asking asking = {plan, exchange, answers};
	bool any = false;

	for (size_t i = 0; i < plan->question_count; i++)
		any |= plan->questions[i].kind == STEP_EXCHANGE;
	if (!any)
		return 0;
	exchange->now.step = STEP_EXCHANGE;
	return clone(answer_all, exchange->stack + EXCHANGE_STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PARENT_SETTID,
	             &asking, (pid_t *)&exchange->helper) < 0
	               ? -1
	               : 0;
}

int open_root(const char *path, char *walked, struct failure *why)
{
	struct walk walk = {0};
	int reached;
	enum walked how = walk_path(&walk, path, &reached);
	int error = errno;

	memcpy(walked, walk.length ? walk.at : "/", walk.length ? walk.length + 1 : 2);
	if (how == WALKED_TO_FOLDER)
		return reached;
	if (how == WALKED_TO_FILE)
		close(reached);
	*why = walk.on_proc ? (struct failure){.step = STEP_LINK}
	                    : (struct failure){.step = STEP_CHROOT, .error = error, .call = "openat"};
	return -1;
}
