/*
 * rehearse.c - the plan's steps, tried in a child that is thrown away
 *
 * The kernel refuses here first whatever it would refuse in the commit: a zone's limits, the limit set, auditing. The
 * child comes from forkx(2): it has the calling thread alone, sends no SIGCHLD, and is found only by a wait for its own
 * pid. It stores each step before it takes it, in memory that both share, so that the step is known even if a signal
 * kills the child, and leaves its last state there.
 */
#include "sunos.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/fork.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the child leaves behind; then the answers, the directories inside the new root, the state. */
struct stage {
	struct failure now; /* the child's step under way */
	struct found found;
	bool jailed;
	size_t inside_room, inside_count;
	size_t state_size, size;
	struct answer answers[];
};

static size_t aligned(size_t size)
{
	return (size + 15) & ~(size_t)15;
}

static size_t offset_of_inside(const struct plan *plan)
{
	return aligned(sizeof(struct stage) + plan->question_count * sizeof(struct answer));
}

static size_t offset_of_state(const struct plan *plan, size_t inside_room)
{
	return offset_of_inside(plan) + aligned(inside_room * sizeof(struct directory));
}

static struct directory *inside_of(const struct plan *plan, struct stage *stage)
{
	return (struct directory *)((char *)stage + offset_of_inside(plan));
}

static struct state *state_of(const struct plan *plan, struct stage *stage)
{
	return (struct state *)((char *)stage + offset_of_state(plan, stage->inside_room));
}

/* Is there a way back to root that the plan does not leave open? None of these calls may succeed. */
static bool regains_root(const struct plan *plan, const priv_set_t *held)
{
	static const gid_t root_group;
	bool may_set_ids = priv_ismember(plan->permitted, "proc_setid");

	return (plan->uid != 0 && !may_set_ids && !setuid(0)) || (plan->gid != 0 && !may_set_ids && !setgid(0)) ||
	       (!may_set_ids && !setgroups(1, &root_group)) ||
	       (!priv_issubset(held, plan->permitted) && !setppriv(PRIV_SET, PRIV_PERMITTED, held));
}

/* Directories are listed before the chroot, because the new root may have no /proc, and entered after it, while the
 * child is still root. */
static int rehearse_root(const struct plan *plan, struct stage *stage)
{
	struct directory *inside = inside_of(plan, stage);
	long count;

	if (!has_step(plan->steps, STEP_CHROOT))
		return 0;
	count = list_directories(plan->root, inside, stage->inside_room, &stage->now);
	if (count < 0 || change_root(plan, &stage->now))
		return -1;
	stage->inside_count = (size_t)count < stage->inside_room ? (size_t)count : stage->inside_room;
	return enter_directories(inside, stage->inside_count, &stage->now);
}

static int rehearse_steps(const struct plan *plan, struct stage *stage)
{
	struct failure *now = &stage->now;
	priv_set_t *held = read_privileges(SET_PERMITTED);

	now->step = STEP_OBSERVE;
	if (!held || protect_process(plan, now) || apply_groups(plan, now) || rehearse_root(plan, stage) || apply_identity(plan, now))
		return -1;
	now->step = STEP_REGAIN;
	if (!regains_root(plan, held))
		return 0;
	errno = 0; /* no call has failed; one has succeeded that must not */
	return -1;
}

/* Compare this copy of the process with the plan's `before`. A change since then is refused here, and not only by the
 * commit: a rehearsal in one state says nothing about a commit in another. */
static int compare_with_plan(const struct plan *plan, struct stage *stage)
{
	struct state *state = state_of(plan, stage);

	stage->now = (struct failure){.step = STEP_COMPARE};
	return compare_process(state, stage->state_size, (char *)state + stage->state_size, plan->before);
}

/* Returns when all is done, or at the step that has failed, with errno. */
static void rehearse_here(const struct plan *plan, struct stage *stage)
{
	if (compare_with_plan(plan, stage))
		return;
	if (rehearse_steps(plan, stage))
		return;
	ask_questions(plan->questions, plan->question_count, stage->answers, &stage->now);
	stage->now = (struct failure){.step = STEP_READ_BACK};
	if (observe_process(state_of(plan, stage), stage->state_size))
		return;
	errno = 0;
	if (!has_sets(plan))
		return;
	stage->jailed = has_step(plan->steps, STEP_CHROOT) && is_jailed(plan->root);
	stage->now.step = STEP_NONE;
}

static void exchange_here(const struct plan *plan, struct stage *stage)
{
	if (!ask_exchange(plan, &stage->found, stage->answers, &stage->now))
		stage->now.step = STEP_NONE;
}

/* In the child, which must hold no listener if a dead file system holds it. */
static _Noreturn void run_here(void (*part)(const struct plan *, struct stage *), const struct plan *plan, struct stage *stage, int end)
{
	stage->now = (struct failure){.step = STEP_DESCRIPTORS};
	if (!close_sockets_and_pipes(end, end))
		part(plan, stage);
	stage->now.error = errno;
	exit_now(0);
}

/* Run one part in a child. */
static int run_child(void (*part)(const struct plan *, struct stage *), const struct plan *plan, struct stage *stage, struct failure *why)
{
	int ends[2], result = -1;
	pid_t child = -1;

	*why = (struct failure){.step = STEP_CHILD};
	stage->now = (struct failure){.step = STEP_NONE};
	if (pipe(ends)) {
		why->error = errno;
		return -1;
	}
	if (!fcntl(ends[0], F_SETFD, FD_CLOEXEC) && !fcntl(ends[1], F_SETFD, FD_CLOEXEC))
		child = forkx(FORK_NOSIGCHLD | FORK_WAITPID);
	if (child == 0)
		run_here(part, plan, stage, ends[1]);
	why->error = child < 0 ? errno : 0;
	close(ends[1]);
	if (child > 0)
		result = await_child(child, ends[0], why);
	close(ends[0]);
	if (child > 0 && result == 0 && stage->now.step != STEP_NONE) {
		*why = stage->now;
		result = -1;
	} else if ((why->signo || why->error == ETIMEDOUT) && stage->now.step) {
		int error = why->error, signo = why->signo;

		*why = stage->now; /* it was ended there; any other error comes from a call made here */
		why->error = error;
		why->signo = signo;
	}
	return result;
}

static bool asks_exchange(const struct plan *plan)
{
	for (size_t i = 0; i < plan->question_count; i++)
		if (plan->questions[i].kind == STEP_EXCHANGE)
			return true;
	return false;
}

/* First the questions about exchange, in a child of their own; then the steps, in another. */
static int run_children(const struct plan *plan, struct stage *stage, struct failure *why)
{
	sigset_t all, before;
	int result = -1;

	/* A child must not run this process's handlers. */
	sigfillset(&all);
	if ((errno = pthread_sigmask(SIG_SETMASK, &all, &before))) {
		*why = (struct failure){.step = STEP_MASK, .error = errno};
		return -1;
	}
	if (!asks_exchange(plan) || !run_child(exchange_here, plan, stage, why))
		result = run_child(rehearse_here, plan, stage, why);
	if ((errno = pthread_sigmask(SIG_SETMASK, &before, NULL)))
		end_here(STEP_MASK);
	return result;
}

static struct stage *map_stage(const struct plan *plan, struct failure *why)
{
	struct stage *stage = MAP_FAILED;
	/* Room for as many directories. Which of them are some the child finds out, whose time is bounded. */
	long open = has_step(plan->steps, STEP_CHROOT) ? count_descriptors(why) : 0;
	size_t room = (size_t)open + 16, state = state_size();
	size_t size = offset_of_state(plan, room) + 2 * state; /* the second for its text */

	if (open < 0)
		return NULL;
	if (state)
		stage = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);
	if (stage == MAP_FAILED) {
		*why = (struct failure){.step = STEP_MEMORY, .error = errno};
		return NULL;
	}
	stage->inside_room = room;
	stage->state_size = state;
	stage->size = size;
	return stage;
}

int rehearse(const struct plan *plan, struct rehearsal *rehearsal, struct failure *why)
{
	struct stage *stage = map_stage(plan, why);

	if (!stage)
		return -1;
	if (run_children(plan, stage, why)) {
		munmap(stage, stage->size);
		return -1;
	}
	*rehearsal = (struct rehearsal){
		.state = state_of(plan, stage),
		.jailed = stage->jailed,
		.answers = stage->answers,
		.found = stage->found.text,
		.inside = inside_of(plan, stage),
		.inside_count = stage->inside_count,
		.memory = stage,
		.memory_size = stage->size,
	};
	return 0;
}

void release_rehearsal(struct rehearsal *rehearsal)
{
	munmap(rehearsal->memory, rehearsal->memory_size);
}
