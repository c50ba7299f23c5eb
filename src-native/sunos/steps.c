/*
 * steps.c - the list that turns the process into what the plan says
 *
 * Credentials belong to the process: the kernel hands them on to every thread (crset, "broadcast to process threads").
 * Called in the rehearsing child first, then in the process itself. Which steps are due was decided by the plan; here is
 * only their order. System calls only, on memory that is already there.
 */
#include "core.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

const struct step_name step_names[STEP_COUNT] = {
	[STEP_NONE] = {"", ""},
	[STEP_OBSERVE] = {"observe", "ucred_get"},
	[STEP_MEMORY] = {"memory", "mmap"},
	[STEP_PROC] = {"proc", "access"},
	[STEP_DESCRIPTORS] = {"descriptors", "fdwalk"},
	[STEP_FSTAT] = {"descriptors", "fstat"},
	[STEP_DIRECTORY] = {"open directory", "open"},
	[STEP_CHILD] = {"rehearsal child", "forkx"},
	[STEP_MASK] = {"signal mask", "pthread_sigmask"},
	[STEP_SIGUSR1] = {"SIGUSR1", "sigaction"},
	[STEP_PROTECT] = {"protect", "setpflags"},
	[STEP_SETGROUPS] = {"setgroups", "setgroups"},
	[STEP_SETGID] = {"setgid", "setgid"},
	[STEP_FCHDIR] = {"chroot", "fchdir"},
	[STEP_CHROOT] = {"chroot", "chroot"},
	[STEP_CHDIR] = {"chroot", "chdir"},
	[STEP_SETPFLAGS] = {"setpflags", "setpflags"},
	[STEP_SETUID] = {"setuid", "setuid"},
	[STEP_XPOLICY] = {"xpolicy", "setpflags"},
	[STEP_PFEXEC] = {"pfexec", "setpflags"},
	[STEP_PERMITTED] = {"permitted", "setppriv"},
	[STEP_LIMIT] = {"limit", "setppriv"},
	[STEP_EFFECTIVE] = {"effective", "setppriv"},
	[STEP_REGAIN] = {"regain", "setuid"},
	[STEP_READ] = {"read", "open"},
	[STEP_WRITE] = {"write", "access"},
	[STEP_BIND] = {"bind", "bind"},
	[STEP_READ_BACK] = {"read back", "ucred_get"},
};

static bool protected_by_us;

int protect_process(void)
{
	if (setpflags(__PROC_PROTECT, 1))
		return -1;
	protected_by_us = true;
	return 0;
}

bool is_protected(void)
{
	return protected_by_us;
}

static bool due(const struct plan *plan, struct failure *now, enum step step)
{
	if (!(plan->steps & (1u << step)))
		return false;
	now->step = step;
	return true;
}

static int refused(struct failure *now)
{
	now->error = errno;
	return -1;
}

/* By the descriptor that was looked at when the plan was made, not by its path, which may lead elsewhere by now. */
static int change_root(const struct plan *plan, struct failure *now)
{
	now->step = STEP_FCHDIR;
	if (fchdir(plan->root))
		return refused(now);
	now->step = STEP_CHROOT;
	if (chroot("."))
		return refused(now);
	/* A working directory outside would be the way out (chroot(2)). fchdir has brought it inside already; this makes
	 * sure of it by the new root's own path, which must be there to be used. */
	now->step = STEP_CHDIR;
	if (chdir("/"))
		return refused(now);
	return 0;
}

/* setuid after all that needs a privilege of root's, and the sets after setuid, which itself needs proc_setid. */
int apply_steps(const struct plan *plan, struct failure *now)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	/* Node opens its inspector on SIGUSR1, and a process of the new user may be sending that already, or be waiting to
	 * trace this one: deaf and closed to it before it can be reached from there. */
	now->step = STEP_SIGUSR1;
	if (!plan->keep_sigusr1 && sigaction(SIGUSR1, &ignore, NULL))
		return refused(now);
	now->step = STEP_PROTECT;
	if (protect_process())
		return refused(now);

	/* Groups before the user: afterwards nobody may change them. */
	if (due(plan, now, STEP_SETGROUPS) && setgroups((int)plan->group_count, plan->groups))
		return refused(now);
	if (due(plan, now, STEP_SETGID) && setgid(plan->gid))
		return refused(now);
	if (due(plan, now, STEP_CHROOT) && change_root(plan, now))
		return -1;

	/* A process that is not aware of privileges has those of uid 0 only as long as it is uid 0: setuid would leave it the
	 * basic set, and nothing to choose from (privileges(7), "Privilege Awareness"). */
	if (due(plan, now, STEP_SETPFLAGS) && setpflags(PRIV_AWARE, 1))
		return refused(now);
	if (due(plan, now, STEP_SETUID) && setuid(plan->uid))
		return refused(now);

	/* By these a policy daemon, and the rights profiles of the account at each exec, give what nobody has named. */
	if (due(plan, now, STEP_XPOLICY) && setpflags(PRIV_XPOLICY, 0))
		return refused(now);
	if (due(plan, now, STEP_PFEXEC) && setpflags(PRIV_PFEXEC, 0))
		return refused(now);

	/* Permitted takes the effective set along; the limit set is what children can ever get; the effective set last,
	 * because it must be within the permitted one. */
	if (due(plan, now, STEP_PERMITTED) && setppriv(PRIV_SET, PRIV_PERMITTED, plan->permitted))
		return refused(now);
	if (due(plan, now, STEP_LIMIT) && setppriv(PRIV_SET, PRIV_LIMIT, plan->limit))
		return refused(now);
	if (due(plan, now, STEP_EFFECTIVE) && setppriv(PRIV_SET, PRIV_EFFECTIVE, plan->effective))
		return refused(now);

	now->step = STEP_NONE;
	return 0;
}
