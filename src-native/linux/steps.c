/*
 * steps.c - the steps that make the process, and then each of its threads, what the plan says
 *
 * Linux credentials belong to threads (nptl(7), "C library/kernel differences"): the raw system calls below change the
 * calling thread alone. Called in the rehearsing child first, then in every thread of the process while all the others
 * are parked. The plan has decided which steps are due; only their order is decided here.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef SYS_setresuid32
#error "on this machine setresuid, setresgid and setgroups take 16-bit ids; the 32-bit calls have other names"
#endif

#define STEP_NAME(identifier, name, linux_call, sunos_call) [STEP_##identifier] = {name, linux_call},
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

static bool in(uint64_t set, unsigned capability)
{
	return set >> capability & 1;
}

long set_capabilities(const struct capability_sets *sets)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)sets->effective, (uint32_t)sets->permitted, (uint32_t)sets->inheritable},
		{sets->effective >> 32, sets->permitted >> 32, sets->inheritable >> 32},
	};

	return syscall(SYS_capset, &header, data);
}

/* Once for all threads: they share one root and one working directory (clone(2), CLONE_FS). By the descriptor that was
 * checked when the plan was made, not by its path, which may lead elsewhere by now. */
int change_root(const struct plan *plan, struct failure *now)
{
	if (!due(plan, now, STEP_CHROOT))
		return 0;
	now->step = STEP_FCHDIR;
	if (syscall(SYS_fchdir, plan->root))
		return refused(now);
	now->step = STEP_CHROOT;
	if (syscall(SYS_chroot, "."))
		return refused(now);
	/* A working directory outside would be the way out (chroot(2)). fchdir has moved it inside already; chdir("/") also
	 * makes sure that the new root can be entered by its own path. */
	now->step = STEP_CHDIR;
	if (syscall(SYS_chdir, "/"))
		return refused(now);
	now->step = STEP_NONE;
	return 0;
}

/* The sets come last because every step before them needs one of root's: CAP_SETPCAP, CAP_SETGID, CAP_SETUID. */
int apply_steps(const struct plan *plan, struct failure *now)
{
	/* Before the others, too: where the ids already are the user's, only its capabilities keep the user's other
	 * processes from tracing this thread, and they are about to go (ptrace(2), "Ptrace access mode checking"). */
	now->step = STEP_DUMPABLE;
	if (syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0))
		return refused(now);

	/* Needs CAP_SETPCAP, which setresuid takes out of the effective set. */
	if (due(plan, now, STEP_BOUNDING))
		for (unsigned capability = 0; capability < 64; capability++)
			if (in(plan->bounding_drop, capability) &&
			    syscall(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0))
				return refused(now);

	/* Groups before the user: afterwards the thread may not change them. */
	if (due(plan, now, STEP_SETGROUPS) && syscall(SYS_setgroups, plan->group_count, plan->groups))
		return refused(now);
	if (due(plan, now, STEP_SETRESGID) && syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid))
		return refused(now);

	/* Without this bit the kernel empties the permitted set when the last id 0 goes (capabilities(7), "Effect of
	 * user ID changes on capabilities"). It empties the effective set in either case. */
	if (due(plan, now, STEP_KEEPCAPS) && syscall(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return refused(now);
	if (due(plan, now, STEP_SETRESUID) && syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid))
		return refused(now);

	/* Never left out, even if nothing is retained: under SECBIT_NO_SETUID_FIXUP, or when no id was 0, setresuid has
	 * left the sets as they were. */
	if (due(plan, now, STEP_CAPSET) && set_capabilities(&plan->sets))
		return refused(now);
	if (due(plan, now, STEP_KEEPCAPS_BACK) && syscall(SYS_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0))
		return refused(now);

	/* Only what is permitted and inheritable by now can be raised here. */
	if (due(plan, now, STEP_AMBIENT)) {
		if (syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
			return refused(now);
		for (unsigned capability = 0; capability < 64; capability++)
			if (in(plan->sets.ambient, capability) &&
			    syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))
				return refused(now);
	}
	if (due(plan, now, STEP_NO_NEW_PRIVS) && syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return refused(now);

	/* Again at the end of each thread: a change of ids sets it, for the whole process, to fs.suid_dumpable (prctl(2),
	 * PR_SET_DUMPABLE). */
	now->step = STEP_DUMPABLE;
	if (syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0))
		return refused(now);

	now->step = STEP_NONE;
	return 0;
}
