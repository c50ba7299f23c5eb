/*
 * commit.c - the one irreversible act, from top to bottom
 *
 * Up to the line a refusal leaves the process as it was. From the line on there is no way back, so there is no error to
 * return either: a failure ends the process, because a half-privileged one must not go on.
 */
#include "sunos.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* The commit's buffers. Allocated before the line. */
struct workspace {
	const struct plan *plan;
	size_t size; /* of each of these */
	struct state *state;
	char *text;
};

/* End the process with the first line that differs, as wanted and as found. */
static _Noreturn void end_by_first_difference(char *found, const char *expected)
{
	static char wanted[512];

	for (;;) {
		size_t length = strcspn(expected, "\n"), found_length = strcspn(found, "\n");

		if (length != found_length || memcmp(expected, found, length)) {
			size_t kept = length < sizeof wanted ? length : sizeof wanted - 1;

			memcpy(wanted, expected, kept);
			wanted[kept] = '\0';
			found[found_length] = '\0';
			end_unequal(STEP_READ_BACK, 0, wanted, found);
		}
		expected += length + 1;
		found += found_length + 1;
	}
}

/* Does not return if the process is not what it had to become. */
static void prove(struct workspace *space)
{
	const struct plan *plan = space->plan;

	if (compare_process(space->state, space->size, space->text, plan->expected)) {
		if (errno)
			end_here(STEP_READ_BACK);
		end_by_first_difference(space->text, plan->expected);
	}
	if (!has_sets(plan))
		end_unequal(STEP_READ_BACK, 0, "the sets of the plan", "others");
	if (has_step(plan->steps, STEP_CHROOT) && !is_jailed(plan->root))
		end_unequal(STEP_READ_BACK, 0, "the new root directory", "another");
	if (check_sigusr1(plan->keep_sigusr1))
		end_unequal(STEP_SIGUSR1, 0, "ignored", "otherwise");
}

/* Apply the plan and prove it. A failure ends the process. */
static void cross(struct workspace *space, struct committed *done)
{
	const struct plan *plan = space->plan;
	struct failure why = {.step = STEP_NONE};
	hrtime_t begun = gethrtime(), applied;

	if (protect_process(plan, &why) || apply_groups(plan, &why) || change_root(plan, &why) || apply_identity(plan, &why))
		end_at(&why);
	applied = gethrtime();
	prove(space);
	*plan->kept = 1;
	done->apply_us = (uint32_t)((applied - begun) / 1000);
	done->read_us = (uint32_t)((gethrtime() - applied) / 1000);
}

/* Every check that can still refuse. */
static int prepare(struct workspace *space, struct failure *why)
{
	const struct plan *plan = space->plan;

	*why = (struct failure){.step = STEP_COMPARE};
	if (compare_process(space->state, space->size, space->text, plan->before)) {
		why->error = errno;
		return -1;
	}
	return has_step(plan->steps, STEP_CHROOT) ? refuse_directories(plan, why) : 0;
}

int commit(const struct plan *plan, struct committed *done, struct failure *why)
{
	size_t size = state_size();
	struct workspace space = {.plan = plan, .size = size, .state = malloc(size), .text = malloc(size)};
	sigset_t all, before;
	int refused = -1;

	*done = (struct committed){0};
	*why = (struct failure){.step = STEP_MEMORY, .error = errno};
	sigfillset(&all);
	if (size && space.state && space.text) {
		why->step = STEP_MASK;
		why->error = pthread_sigmask(SIG_SETMASK, &all, &before);
	}
	if (why->step == STEP_MASK && !why->error) {
		if (!(refused = prepare(&space, why))) {
			/* ===== The line. Nothing has changed up to here; from here on there is no way back. ===== */
			cross(&space, done);
		}
		if ((errno = pthread_sigmask(SIG_SETMASK, &before, NULL)))
			end_here(STEP_MASK);
	}
	free(space.state);
	free(space.text);
	return refused;
}
