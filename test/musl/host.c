/*
 * host.c - the C core in a musl process without JavaScript, examined from outside
 *
 * Each case runs in a child: threads that rest, work, wait with all signals blocked that musl lets them block, are born
 * and die; then commit(), and the parent reads /proc/CHILD/task of every thread. Prints TAP. As root.
 *
 * musl has signals of its own: 32 for timers, 33 for pthread_cancel(3), 34 for setuid(3) in all threads. The core borrows
 * 33, so cancelling and setuid() have to work before, during and after.
 */
#define _GNU_SOURCE
#include "../../src-native/linux/linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RESTING = 8, NOBODY = 65534, ROUNDS = 100, FIRST_CANCELS = 30 };

static const uint64_t bind_service = UINT64_C(1) << 10; /* CAP_NET_BIND_SERVICE */

static atomic_bool stop;
static atomic_uint born, cancelled;

/* In the child: the reason goes to standard error, as a comment to the case that fails by it. */
#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "# line %d: %s (%s)\n", __LINE__, #condition, strerror(errno));                \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

static void pause_ms(long milliseconds)
{
	nanosleep(&(struct timespec){.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000}, NULL);
}

/* ---- threads ---- */

static void *rest(void *all_blocked)
{
	sigset_t all;

	sigfillset(&all);
	if (all_blocked)
		pthread_sigmask(SIG_BLOCK, &all, NULL);
	for (;;)
		pause_ms(1000);
	return NULL;
}

static void *work(void *unused)
{
	while (!atomic_load(&stop))
		;
	return unused;
}

static void *live_briefly(void *unused)
{
	atomic_fetch_add(&born, 1);
	return unused;
}

/* Joined ones and detached ones: musl ends them in different ways. Not so fast that nobody could ever catch up. */
static void *churn(void *unused)
{
	pthread_attr_t detached;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	while (!atomic_load(&stop)) {
		pthread_t one, other;

		if (!pthread_create(&one, NULL, live_briefly, NULL))
			pthread_join(one, NULL);
		pthread_create(&other, &detached, live_briefly, NULL);
		pause_ms(1);
	}
	return unused;
}

static bool cancel_one(void)
{
	pthread_t thread;
	void *result = NULL;

	if (pthread_create(&thread, NULL, rest, NULL))
		return false;
	if (pthread_cancel(thread) || pthread_join(thread, &result) || result != PTHREAD_CANCELED)
		return false;
	atomic_fetch_add(&cancelled, 1);
	return true;
}

static void *cancel_others(void *unused)
{
	while (!atomic_load(&stop)) {
		MUST(cancel_one());
		pause_ms(1);
	}
	return unused;
}

static void start(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	MUST(!pthread_create(&thread, NULL, function, argument));
}

static void start_all(void)
{
	for (size_t i = 0; i < RESTING; i++)
		start(rest, i % 2 ? "all blocked" : NULL);
	start(work, NULL);
	start(churn, NULL);
	pause_ms(20);
}

/* musl's own way: signal 34 to every thread. An id of -1 changes nothing. */
static void *broadcast(void *result)
{
	*(int *)result = setresuid(-1, -1, -1) ? errno : 0;
	return NULL;
}

static int broadcast_in_thread(void)
{
	pthread_t thread;
	int result = -1;

	MUST(!pthread_create(&thread, NULL, broadcast, &result) && !pthread_join(thread, NULL));
	return result;
}

/* ---- the plan ---- */

#define STEP(name) ((step_set)1 << STEP_##name)

static volatile uint8_t kept; /* set by the commit */

static const struct question questions[] = {{STEP_READ, "/etc/passwd", 0}, {STEP_BIND, NULL, 25}, {STEP_EXCHANGE, "/etc", 1}};

static struct plan plan_to_nobody(void)
{
	struct failure why;
	struct plan plan = {
		.steps = STEP(BOUNDING) | STEP(SETGROUPS) | STEP(SETRESGID) | STEP(KEEPCAPS) | STEP(SETRESUID) | STEP(CAPSET) |
	                 STEP(KEEPCAPS_BACK) | STEP(AMBIENT) | STEP(NO_NEW_PRIVS),
		.uid = NOBODY,
		.gid = NOBODY,
		.root = -1,
		.questions = questions,
		.question_count = sizeof questions / sizeof *questions,
		.bounding_drop = ((UINT64_C(1) << capability_count()) - 1) & ~bind_service,
		.kept = &kept,
	};
	char *status;

	MUST(!observe_thread(&status, &plan.securebits, &why));
	MUST(!capabilities_from_text("cap_net_bind_service=eip", &plan.sets) && plan.sets.permitted == bind_service);
	plan.sets.ambient = plan.sets.bounding = bind_service;
	plan.held.permitted = plan.held.effective = bind_service << 1;
	plan.before = (struct text){status, strlen(status)};
	return plan;
}

/* Made for another user: what the C library leaves for a moment while it changes the ids of all threads. */
static void must_refuse_unlike(const struct plan *plan)
{
	struct plan unlike = *plan;
	struct rehearsal left;
	struct failure why = {0};
	char *text = strndup(plan->before.at, plan->before.length);
	char *uid = text ? strstr(text, "\nUid:\t") : NULL;

	MUST(uid);
	uid[6] ^= 1;
	unlike.before.at = text;
	MUST(rehearse(&unlike, &left, &why) == -1 && why.step == STEP_COMPARE && !why.error && !why.tid);
	free(text);
}

/* Its text is the plan's from here on: what every thread has to equal. */
static void must_rehearse(struct plan *plan)
{
	static struct rehearsal left;
	struct failure why = {0};

	must_refuse_unlike(plan);
	if (rehearse(plan, &left, &why)) {
		fprintf(stderr, "# rehearse: step '%s', errno %d, signal %d\n", step_names[why.step].step, why.error, why.signo);
		_exit(1);
	}
	MUST(memmem(left.status.at, left.status.length, "Uid:\t65534\t65534\t65534\t65534\n", 29));
	for (size_t i = 0; i < plan->question_count; i++)
		MUST(!left.answers[i].error && left.answers[i].by == EXCHANGED_BY_NONE);
	plan->expected = left.status;
	MUST(getuid() == 0);
}

static void must_commit(const struct plan *plan)
{
	struct committed done;
	struct failure why = {0};

	if (commit(plan, &done, &why)) {
		fprintf(stderr, "# commit: step '%s', errno %d, thread %d\n", step_names[why.step].step, why.error, why.tid);
		_exit(1);
	}
	MUST(kept == 1);
	fprintf(stderr, "# %zu threads: %u us to park, %u to apply, %u to read back\n", done.count, done.park_us, done.apply_us,
	        done.read_us);
	release_commit(&done);
}

/* Park all threads and let them go again: a plan for other securebits is refused when all are parked. 0: they have been. */
static int park_and_refuse(const struct plan *plan)
{
	struct plan unlike = *plan;
	struct committed done;
	struct failure why = {0};

	unlike.expected = plan->before;
	unlike.securebits ^= 1;
	MUST(commit(&unlike, &done, &why) == -1 && !kept);
	return why.step == STEP_COMPARE ? 0 : -1;
}

/* ---- outside ---- */

static const char *const wanted[] = {
	"\nUid:\t65534\t65534\t65534\t65534\n", "\nGid:\t65534\t65534\t65534\t65534\n", "\nGroups:\t \n",
	"\nCapInh:\t0000000000000400\n",        "\nCapPrm:\t0000000000000400\n",        "\nCapEff:\t0000000000000400\n",
	"\nCapBnd:\t0000000000000400\n",        "\nCapAmb:\t0000000000000400\n",        "\nNoNewPrivs:\t1\n",
};

/* How many threads of that process are not as wanted. *all: how many there are. */
static unsigned count_wrong(pid_t process, unsigned *all)
{
	char path[64], text[8192];
	unsigned wrong = 0;
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof path, "/proc/%d/task", process);
	*all = 0;
	if (!(tasks = opendir(path)))
		return 1;
	while ((entry = readdir(tasks))) {
		ssize_t length;
		bool right = true;
		int status;

		snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", process, entry->d_name);
		if (entry->d_name[0] == '.' || (status = open(path, O_RDONLY)) < 0)
			continue; /* has ended since */
		length = read(status, text, sizeof text - 1);
		close(status);
		if (length <= 0)
			continue;
		text[length] = '\0';
		for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
			right = right && strstr(text, wanted[i]);
		++*all;
		wrong += !right;
	}
	closedir(tasks);
	return wrong;
}

/* ---- cases: what the child does before it is looked at, and after ---- */

struct test {
	const char *name;
	void (*before)(void);
	void (*after)(void);
	unsigned wrong; /* threads that are not as wanted, seen from outside: none, or at least these */
	bool race;      /* it needs a machine that is not emulated: there nobody parks in time */
};

static void do_commit(void)
{
	struct plan plan;

	start_all();
	MUST(broadcast_in_thread() == 0);
	plan = plan_to_nobody();
	must_rehearse(&plan);
	must_commit(&plan);
}

static void *spawn(void *unused)
{
	char *arguments[] = {"sh", "-c", "exit 7", NULL};
	char *environment[] = {NULL};
	int status = 0;
	pid_t child;

	MUST(!posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environment));
	MUST(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
	return unused;
}

static void after_commit(void)
{
	pthread_t thread;
	unsigned before = atomic_load(&born);

	/* musl's broadcast still reaches everybody, and is refused what is not ours any more, without killing us. */
	MUST(broadcast_in_thread() == 0);
	MUST(setresuid(0, 0, 0) && errno == EPERM);
	MUST(cancel_one());
	MUST(!pthread_create(&thread, NULL, spawn, NULL) && !pthread_join(thread, NULL));
	while (atomic_load(&born) == before)
		pause_ms(1);
}

static void commit_after_cancel(void)
{
	MUST(cancel_one());
	do_commit();
}

static void commit_while_cancelling(void)
{
	start(cancel_others, NULL);
	MUST(cancel_one());
	do_commit();
}

static void still_cancelling(void)
{
	unsigned before = atomic_load(&cancelled);

	while (atomic_load(&cancelled) == before)
		pause_ms(1);
	MUST(broadcast_in_thread() == 0);
}

/* A mutant: the calling thread alone, as a program would do that knows nothing of threads. */
static void commit_alone(void)
{
	struct plan plan;

	start_all();
	plan = plan_to_nobody();
	MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(!syscall(SYS_setresgid, plan.gid, plan.gid, plan.gid) && !syscall(SYS_setresuid, plan.uid, plan.uid, plan.uid));
}

static void *become_other(void *unused)
{
	MUST(!syscall(SYS_setresgid, 12, 12, 12));
	return rest(unused);
}

/* One thread has another group: refused, and nothing has changed. */
static void refuse_to_commit(void)
{
	struct committed done;
	struct failure why = {0};
	struct plan plan;

	start_all();
	plan = plan_to_nobody();
	must_rehearse(&plan);
	start(become_other, NULL);
	pause_ms(20);
	MUST(commit(&plan, &done, &why) == -1 && why.step == STEP_COMPARE && !why.error && why.tid);
	MUST(!kept && getuid() == 0 && geteuid() == 0 && broadcast_in_thread() == 0);
}

static void rehearse_what_it_cannot(void)
{
	char theirs[] = "/tmp/privdrop-XXXXXX";
	const struct question asked[] = {{STEP_READ, "/etc/shadow", 0}, {STEP_EXCHANGE, theirs, 1}};
	struct plan plan = plan_to_nobody();
	struct rehearsal left;
	struct failure why = {0};

	MUST(mkdtemp(theirs) && !chown(theirs, NOBODY, NOBODY));
	plan.questions = asked;
	plan.question_count = 2;
	MUST(!rehearse(&plan, &left, &why));
	MUST(left.answers[0].error == EACCES);
	MUST(!left.answers[1].error && left.answers[1].by == EXCHANGED_BY_USER && !strcmp(left.found + left.answers[1].found, theirs));
	release_rehearsal(&left);
	MUST(!rmdir(theirs));
}

/* Stop all and let them go again, over and over, while threads are born, die and are cancelled. */
static void park_again_and_again(void)
{
	struct plan plan = plan_to_nobody();
	unsigned refusals = 0;

	MUST(cancel_one());
	start_all();
	start(cancel_others, NULL);
	for (unsigned i = 0; i < ROUNDS; i++)
		refusals += park_and_refuse(&plan) != 0;
	fprintf(stderr, "# %u rounds, %u not parked; %u threads born, %u cancelled\n", ROUNDS, refusals, atomic_load(&born),
	        atomic_load(&cancelled));
	MUST(refusals < ROUNDS / 10);
	still_cancelling();
}

static void *cancel_in_a_moment(void *moment)
{
	struct timespec now, then;

	clock_gettime(CLOCK_MONOTONIC, &then);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - then.tv_sec) * 1000000000L + now.tv_nsec - then.tv_nsec < (long)(intptr_t)moment);
	MUST(cancel_one());
	return NULL;
}

/* The first pthread_cancel() of a process sets a handler for signal 33, once for all. Should that fall into the moment in
 * which the signal is borrowed, it must be there afterwards: else the next one ends the process. */
static void first_cancel_meanwhile(void)
{
	for (long i = 0; i < FIRST_CANCELS; i++) {
		int status;
		pid_t child = fork();

		MUST(child >= 0);
		if (!child) {
			struct plan plan = plan_to_nobody();
			pthread_t thread;

			for (size_t j = 0; j < RESTING; j++)
				start(rest, NULL);
			MUST(!pthread_create(&thread, NULL, cancel_in_a_moment, (void *)(i * 10000)));
			for (unsigned j = 0; j < 3; j++)
				park_and_refuse(&plan);
			MUST(!pthread_join(thread, NULL));
			MUST(cancel_one());
			_exit(0);
		}
		MUST(waitpid(child, &status, 0) == child);
		if (status) {
			fprintf(stderr, "# child %ld: status %#x\n", i, status);
			_exit(1);
		}
	}
}

/* Another process, or a thread of this one, may send 33 as it likes; here it has no meaning. */
static void unasked_signals(void)
{
	siginfo_t info = {.si_signo = 33, .si_code = SI_QUEUE};

	MUST(cancel_one());
	start_all();
	info.si_value.sival_ptr = (void *)(uintptr_t)(UINT64_C(1) << 32 | 1);
	for (unsigned i = 0; i < 100; i++)
		MUST(!syscall(SYS_rt_sigqueueinfo, getpid(), 33, &info));
	MUST(cancel_one() && broadcast_in_thread() == 0);
}

static const struct test tests[] = {
	{"every thread is what the plan says", do_commit, after_commit, 0, false},
	{"after a pthread_cancel()", commit_after_cancel, after_commit, 0, false},
	{"while threads are cancelled", commit_while_cancelling, still_cancelling, 0, false},
	{"one thread alone is found out", commit_alone, NULL, RESTING, false},
	{"a thread unlike the others: refused, nothing changed", refuse_to_commit, NULL, RESTING, false},
	{"a file that the new user cannot read, a folder that it can exchange", rehearse_what_it_cannot, NULL, 1, false},
	{"stopped and let go over and over", park_again_and_again, NULL, 1, true},
	{"a first pthread_cancel() while the signal is borrowed", first_cancel_meanwhile, NULL, 1, true},
	{"signal 33 from elsewhere", unasked_signals, NULL, 1, false},
};

static bool run(const struct test *test)
{
	int ready[2], go[2], status = -1;
	unsigned wrong, all;
	char byte;
	pid_t child;

	if (pipe(ready) || pipe(go) || (child = fork()) < 0)
		return false;
	if (!child) {
		close(ready[0]);
		close(go[1]);
		alarm(900); /* a busy machine; what hangs ends */
		test->before();
		MUST(write(ready[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
		if (test->after)
			test->after();
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	if (read(ready[0], &byte, 1) == 1) {
		wrong = count_wrong(child, &all);
		fprintf(stderr, "# from outside: %u of %u threads not as wanted\n", wrong, all);
		if (write(go[1], "", 1) != 1)
			wrong = -1;
	} else {
		wrong = -1;
	}
	close(ready[0]);
	close(go[1]);
	if (waitpid(child, &status, 0) != child || status) {
		fprintf(stderr, "# ended with %#x\n", status);
		return false;
	}
	return test->wrong ? wrong >= test->wrong && wrong != (unsigned)-1 : wrong == 0;
}

/* host [emulated] */
int main(int count, char **words)
{
	bool emulated = count > 1 && !strcmp(words[1], "emulated");
	unsigned number = 0;
	bool failed = false;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
		bool ok;

		if (emulated && tests[i].race) {
			printf("# left out on an emulated machine: %s\n", tests[i].name);
			continue;
		}
		ok = run(&tests[i]);
		printf("%sok %u - %s\n", ok ? "" : "not ", ++number, tests[i].name);
		failed = failed || !ok;
	}
	printf("1..%u\n", number);
	return failed;
}
