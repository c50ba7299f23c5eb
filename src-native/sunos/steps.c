/*
 * steps.c - the steps that make the process what the plan says
 *
 * Credentials belong to the process: the kernel hands them on to every thread (crset, "broadcast to process threads");
 * one that is inside a system call keeps the old ones until its next. Called in the rehearsing child first, then in the
 * process itself. The plan has decided which steps are due; only their order is decided here. System calls only, on
 * memory that is already there.
 */
#include "sunos.h"

#include <errno.h>
#include <grp.h>
#include <unistd.h>

#define STEP_NAME(identifier, name, linux_call, sunos_call) [STEP_##identifier] = {name, sunos_call},
const struct step_name step_names[STEP_COUNT] = {EACH_STEP(STEP_NAME)};
#undef STEP_NAME

static bool due(const struct plan *plan, struct failure *now, enum step step)
{
	if (!has_step(plan->steps, step))
		return false;
	now->step = step;
	return true;
}

static int refused(struct failure *now)
{
	now->error = errno;
	return -1;
}

/* Node opens its inspector on SIGUSR1, and a process of the new user may be sending it already, or waiting to trace
 * this one: ignore the signal and forbid tracing before the process can be reached from there. */
int protect_process(const struct plan *plan, struct failure *now)
{
	now->step = STEP_SIGUSR1;
	if (!plan->keep_sigusr1 && ignore_sigusr1())
		return refused(now);
	now->step = STEP_PROTECT;
	if (setpflags(__PROC_PROTECT, 1))
		return refused(now);
	return 0;
}

/* Groups before the user: afterwards the process may not change them. */
int apply_groups(const struct plan *plan, struct failure *now)
{
	if (due(plan, now, STEP_SETGROUPS) && setgroups((int)plan->group_count, plan->groups))
		return refused(now);
	if (due(plan, now, STEP_SETGID) && setgid(plan->gid))
		return refused(now);
	return 0;
}

/* By the descriptor that was checked when the plan was made, not by its path, which may lead elsewhere by now. */
int change_root(const struct plan *plan, struct failure *now)
{
	if (!due(plan, now, STEP_CHROOT))
		return 0;
	now->step = STEP_FCHDIR;
	if (fchdir(plan->root))
		return refused(now);
	now->step = STEP_CHROOT;
	if (chroot("."))
		return refused(now);
	/* A working directory outside would be the way out (chroot(2)). fchdir has moved it inside already; chdir("/") also
	 * makes sure that the new root can be entered by its own path. */
	now->step = STEP_CHDIR;
	if (chdir("/"))
		return refused(now);
	return 0;
}

/* setuid after every step that needs a privilege of root's, and the sets after setuid, which itself needs
 * proc_setid. */
int apply_identity(const struct plan *plan, struct failure *now)
{
	/* A process that is not privilege-aware has the privileges of uid 0 only while it is uid 0: setuid would leave it
	 * the basic set, and nothing to choose from (privileges(7), "Privilege Awareness"). */
	if (due(plan, now, STEP_SETPFLAGS) && setpflags(PRIV_AWARE, 1))
		return refused(now);
	if (due(plan, now, STEP_SETUID) && setuid(plan->uid))
		return refused(now);

	/* With these flags a policy daemon, and the rights profiles of the account at each exec, give privileges that the
	 * plan does not name. */
	if (due(plan, now, STEP_XPOLICY) && setpflags(PRIV_XPOLICY, 0))
		return refused(now);
	if (due(plan, now, STEP_PFEXEC) && setpflags(PRIV_PFEXEC, 0))
		return refused(now);

	/* Setting permitted reduces the effective set too; the limit set is all that children can ever get; the effective
	 * set comes last, because it must be within the permitted one. */
	if (due(plan, now, STEP_PERMITTED) && setppriv(PRIV_SET, PRIV_PERMITTED, plan->permitted))
		return refused(now);
	if (due(plan, now, STEP_LIMIT) && setppriv(PRIV_SET, PRIV_LIMIT, plan->limit))
		return refused(now);
	if (due(plan, now, STEP_EFFECTIVE) && setppriv(PRIV_SET, PRIV_EFFECTIVE, plan->effective))
		return refused(now);

	now->step = STEP_NONE;
	return 0;
}
