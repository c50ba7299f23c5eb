/*
 * rehearse.c - the plan's steps, tried in a child that is thrown away
 *
 * The kernel refuses here first whatever it would refuse in the commit: container limits, user namespaces, seccomp
 * filters, security modules. The child is a copy of the calling thread, made by a raw clone(2): no atfork handlers, no
 * SIGCHLD, no memory, file table or root shared. It makes system calls only, and stores each step before it takes it,
 * so that the step is known even if a signal kills the child.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Shared by parent and child: what the child leaves behind; then the answers, the directories and the status text. */
struct stage {
	struct failure now; /* the child's step under way */
	struct exchange exchange;
	uint32_t securebits;
	int dumpable;
	bool jailed;
	size_t length, inside_count;
	size_t inside_room, text_room, size; /* written by the parent */
	struct answer answers[];
};

static struct directory *inside_of(const struct plan *plan, struct stage *stage)
{
	return (struct directory *)(((uintptr_t)(stage->answers + plan->question_count) + 7) & ~(uintptr_t)7);
}

static char *text_of(const struct plan *plan, struct stage *stage)
{
	return (char *)(inside_of(plan, stage) + stage->inside_room);
}

/* Compare this copy of the calling thread with the plan's `before`. The C library may be changing the ids of all
 * threads meanwhile, and a rehearsal in one state says nothing about a commit in another. 0; -1 with errno, which is 0
 * if they differ. */
static int compare_with_plan(const struct plan *plan, int tasks, struct failure *now)
{
	size_t room = status_size(plan->held_group_count);
	char *text = mmap(NULL, 2 * room + plan->before.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *own = text + room, *wanted = own + room;
	ssize_t length;
	size_t selected;

	if (text == MAP_FAILED) {
		now->step = STEP_MEMORY;
		return -1;
	}
	if ((length = read_status(tasks, this_thread(), text, room)) < 0)
		return -1;
	errno = 0;
	selected = select_lines((struct text){text, (size_t)length}, false, own);
	return selected && selected == select_lines(plan->before, false, wanted) && !memcmp(own, wanted, selected) ? 0 : -1;
}

/* Make every system call that the commit makes between parking and release and that neither the rest of the rehearsal makes
 * nor, before it, the process itself for the list of descriptors: a filter that kills for one kills this child. */
static int practise(const struct plan *plan, int tasks, struct failure *now)
{
	struct kernel_sigaction present;
	siginfo_t info = {.si_signo = SIGCHLD, .si_code = SI_QUEUE};
	uint32_t word = 0;
	void *page;
	long kcmp;

	now->step = STEP_SHARED;
	kcmp = plan->without_kcmp ? 0 : syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILES, 0, 0);
	(void)kcmp; /* if it is refused, the commit has another way */
	now->step = STEP_SIGNAL;
	if (signal_action(33, NULL, &present))
		return -1;
	now->step = STEP_PARK;
	if (syscall(SYS_rt_tgsigqueueinfo, getpid(), this_thread(), SIGCHLD, &info))
		return -1;
	now->call = "futex";
	if (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) < 0)
		return -1;
	now->step = STEP_MEMORY;
	now->call = NULL;
	page = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || munmap(page, 1))
		return -1;
	now->step = STEP_SHARED;
	now->call = "umask";
	umask(umask(077)); /* the child's own: it shares none */
	now->step = STEP_PROC;
	now->call = "statx";
	if (count_tasks(tasks) < 0)
		return -1;
	now->call = NULL;
	return 0;
}

/* Is there a way back to root that the plan does not leave open? None of these calls may succeed. */
static bool regains_root(const struct plan *plan)
{
	static const gid_t root_group;
	struct plan back = {.sets = plan->held, .steps = (step_set)1 << STEP_CAPSET};
	bool may_set_users = plan->sets.permitted >> CAP_SETUID & 1;
	bool may_set_groups = plan->sets.permitted >> CAP_SETGID & 1;
	struct failure now;

	return (plan->uid != 0 && !may_set_users && !syscall(SYS_setresuid, 0, 0, 0)) ||
	       (plan->gid != 0 && !may_set_groups && !syscall(SYS_setresgid, 0, 0, 0)) ||
	       (!may_set_groups && !syscall(SYS_setgroups, 1, &root_group)) ||
	       (plan->held.permitted & ~plan->sets.permitted && !apply_steps(&back, &now));
}

/* Enter the new root, and find the open directories that lead out of it. Still as root: the new identity might not be
 * able to enter them. */
static int rehearse_root(const struct plan *plan, int tasks, struct stage *stage)
{
	if (!has_step(plan->steps, STEP_CHROOT))
		return 0;
	if (change_root(plan, &stage->now) ||
	    list_inside(tasks, inside_of(plan, stage), stage->inside_room, &stage->inside_count, &stage->now))
		return -1;
	stage->now.step = STEP_CHDIR;
	return (int)syscall(SYS_chdir, "/");
}

static int rehearse_identity(const struct plan *plan, struct failure *now)
{
	if (apply_steps(plan, now))
		return -1;
	now->step = STEP_CHDIR;
	if (has_step(plan->steps, STEP_CHROOT) && syscall(SYS_chdir, "/"))
		return -1;
	now->step = STEP_REGAIN;
	if (!plan->without_regain && regains_root(plan)) {
		errno = 0; /* no call has failed; one has succeeded that must not */
		return -1;
	}
	return 0;
}

/* Returns when all is done, or at the step that has failed, with errno. */
static void rehearse_here(const struct plan *plan, struct stage *stage, int end_of_child)
{
	struct failure *now = &stage->now;
	long securebits;
	ssize_t length;
	int tasks;

	now->step = STEP_DESCRIPTORS;
	if (close_sockets_and_pipes(end_of_child, end_of_child))
		return;
	if ((tasks = open_tasks(now)) < 0)
		return;
	now->step = STEP_COMPARE;
	if (compare_with_plan(plan, tasks, now) || practise(plan, tasks, now))
		return;
	now->step = STEP_EXCHANGE;
	if (ask_exchange(plan, &stage->exchange, stage->answers))
		return;
	if (rehearse_root(plan, tasks, stage) || rehearse_identity(plan, now))
		return;
	ask_questions(plan->questions, plan->question_count, stage->answers, now);

	now->step = STEP_READ_BACK;
	if ((securebits = syscall(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0)) < 0 ||
	    (stage->dumpable = (int)syscall(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0)) < 0 ||
	    (length = read_status(tasks, this_thread(), text_of(plan, stage), stage->text_room)) < 0)
		return;
	stage->securebits = (uint32_t)securebits;
	stage->jailed = has_step(plan->steps, STEP_CHROOT) && is_jailed(tasks, this_thread(), plan->root);
	stage->length = (size_t)length;
	now->step = STEP_NONE;
}

static _Noreturn void rehearse_as_child(const struct plan *plan, struct stage *stage, int end_of_child)
{
	rehearse_here(plan, stage, end_of_child);
	stage->now.error = errno;
	exit_now(0);
}

/* Where the child ended or is held: if it waits for the helper of exchange.c, where that one is. */
static struct failure place_of(const struct stage *stage)
{
	struct failure now = stage->now;

	if (now.step == STEP_EXCHANGE) {
		now.step = stage->exchange.now.step;
		now.item = stage->exchange.now.item;
		now.call = stage->exchange.now.call;
	}
	return now;
}

/* clone(2) of a child with all signals blocked, so that it does not run this process's handlers. The parent unblocks
 * them before it waits: another thread may have to park it. */
static long clone_deaf(struct failure *why)
{
	uint64_t mask;
	long child;

	if (block_signals(&mask)) {
		*why = (struct failure){.step = STEP_MASK, .error = errno};
		return -1;
	}
	child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
	why->error = child < 0 ? errno : 0;
	if (child != 0 && restore_signals(mask))
		end_here(STEP_MASK);
	return child;
}

static int run_child(const struct plan *plan, struct stage *stage, struct failure *why)
{
	int ends[2];
	int result = -1;
	long child;

	if (pipe2(ends, O_CLOEXEC)) {
		why->call = "pipe2";
		why->error = errno;
		return -1;
	}
	child = clone_deaf(why);
	if (child == 0)
		rehearse_as_child(plan, stage, ends[1]);
	close(ends[1]);
	if (child > 0) {
		result = await_child((pid_t)child, ends[0], why);
		end_helper(stage->exchange.helper);
		/* The child is done; only its exit is held, while it closes a file of a dead file system. */
		if (result && why->error == ETIMEDOUT && stage->now.step == STEP_NONE && stage->length)
			result = 0;
	}
	close(ends[0]);
	if (child > 0 && result == 0 && stage->now.step != STEP_NONE) {
		*why = place_of(stage);
		result = -1;
	} else if (result && (why->signo || why->error == ETIMEDOUT) && stage->now.step) {
		int error = why->error, signo = why->signo;

		*why = place_of(stage); /* it was ended there */
		why->error = error;
		why->signo = signo;
	} else if (child > 0 && result && why->error && why->error != ETIMEDOUT) {
		why->call = "wait4"; /* any other error comes from the wait */
	}
	return result;
}

/* How many descriptors are open, which is room for the list of those inside; 0 without a new root. -1 with *why. */
static long count_open(const struct plan *plan, struct failure *why)
{
	long open;
	int tasks;

	if (!has_step(plan->steps, STEP_CHROOT))
		return 0;
	if ((tasks = open_tasks(why)) < 0)
		return -1;
	if ((open = count_descriptors(tasks)) < 0)
		*why = (struct failure){.step = STEP_DESCRIPTORS, .error = errno};
	close(tasks);
	return open;
}

static struct stage *map_stage(const struct plan *plan, struct failure *why)
{
	long open = count_open(plan, why);
	size_t groups = plan->group_count;
	size_t size = sizeof(struct stage) + plan->question_count * sizeof(struct answer) + 8 +
	              ((size_t)open + 16) * sizeof(struct directory) + status_size(groups);
	struct stage *stage;

	if (open < 0)
		return NULL;
	stage = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED) {
		*why = (struct failure){.step = STEP_MEMORY, .error = errno};
		return NULL;
	}
	stage->size = size;
	stage->inside_room = (size_t)open + 16;
	stage->text_room = status_size(groups);
	return stage;
}

/* Copy what the child left: a child that is held may still be there. */
static int keep(const struct plan *plan, const struct stage *stage, struct rehearsal *rehearsal, struct failure *why)
{
	struct stage *copy = mmap(NULL, stage->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED) {
		*why = (struct failure){.step = STEP_MEMORY, .error = errno};
		return -1;
	}
	memcpy(copy, stage, offsetof(struct stage, exchange) + offsetof(struct exchange, found) + (size_t)stage->exchange.found_size);
	memcpy(&copy->securebits, &stage->securebits, stage->size - offsetof(struct stage, securebits));
	*rehearsal = (struct rehearsal){
		.status = {text_of(plan, copy), copy->length},
		.securebits = copy->securebits,
		.jailed = copy->jailed,
		.dumpable = copy->dumpable,
		.answers = copy->answers,
		.found = copy->exchange.found,
		.inside = inside_of(plan, copy),
		.inside_count = copy->inside_count,
		.memory = copy,
		.memory_size = copy->size,
	};
	return 0;
}

void release_rehearsal(struct rehearsal *rehearsal)
{
	munmap(rehearsal->memory, rehearsal->memory_size);
}

int rehearse(const struct plan *plan, struct rehearsal *rehearsal, struct failure *why)
{
	struct stage *stage = map_stage(plan, why);
	int result;

	if (!stage)
		return -1;
	*why = (struct failure){.step = STEP_CHILD};
	if (!(result = run_child(plan, stage, why)))
		result = keep(plan, stage, rehearsal, why);
	munmap(stage, stage->size);
	return result;
}
