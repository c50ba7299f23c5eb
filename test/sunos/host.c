/*
 * host.c - the core for Solaris and illumos without JavaScript, on the model of that system
 *
 * The same sources in a program for Linux, so that sanitizers and gcov can look at them. Each case runs in a child of its own.
 * Prints TAP. As an ordinary user.
 */
#include "../../src-native/accounts.h"
#include "../../src-native/sunos/core.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMTP = 990 };

/* What the rehearsing child has been through counts, too. The root that the model has changed holds for whoever is asked there. */
extern void __gcov_dump(void) __attribute__((weak));

_Noreturn void _exit(int status)
{
	unsetenv("SUNOS_MODEL_HOST");
	if (__gcov_dump)
		__gcov_dump();
	for (;;)
		syscall(SYS_exit_group, status);
}

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "# line %d: %s (%s)\n", __LINE__, #condition, strerror(errno));                \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static const gid_t groups[] = {8, 12};
static const uint32_t all_steps = 1u << STEP_SETGROUPS | 1u << STEP_SETGID | 1u << STEP_SETPFLAGS | 1u << STEP_SETUID |
                                  1u << STEP_XPOLICY | 1u << STEP_PFEXEC | 1u << STEP_PERMITTED | 1u << STEP_LIMIT |
                                  1u << STEP_EFFECTIVE;

static priv_set_t *set_of(const char *text)
{
	const char *bad;
	priv_set_t *set = privileges_from_text(text, &bad);

	MUST(set);
	return set;
}

static struct plan plan_for(const char *permitted, const char *effective)
{
	return (struct plan){
		.steps = all_steps, .uid = SMTP, .gid = SMTP + 1, .groups = groups, .group_count = 2, .root = -1,
		.permitted = set_of(permitted), .limit = set_of(permitted), .effective = set_of(effective),
	};
}

static void release(struct plan *plan)
{
	priv_freeset(plan->permitted);
	priv_freeset(plan->limit);
	priv_freeset(plan->effective);
}

static void must_be(struct state *state, const char *permitted, const char *effective)
{
	for (int i = 0; i < 3; i++)
		MUST(state->user[i] == SMTP && state->group[i] == SMTP + 1);
	MUST(state->group_count == 2 && state->groups[0] == 8 && state->groups[1] == 12);
	MUST(!strcmp(set_text(state, SET_PERMITTED), permitted) && !strcmp(set_text(state, SET_LIMIT), permitted));
	MUST(!strcmp(set_text(state, SET_EFFECTIVE), effective));
	MUST(state->flags == PRIV_AWARE && state->protect && state->sigusr1_ignored);
}

static void to_smtp(void)
{
	static const char permitted[] = "file_read,net_access,net_privaddr,proc_fork", effective[] = "net_access,net_privaddr";
	struct attempt attempts[] = {{STEP_BIND, NULL, 25}};
	struct plan plan = plan_for(permitted, effective);
	struct reading reading = {0};
	struct failure why = {0};

	plan.attempts = attempts;
	plan.attempt_count = 1;
	MUST(!rehearse(&plan, &reading, &why));
	must_be(reading.state, permitted, effective);
	release_reading(&reading);
	MUST(!commit(&plan, &reading, &why));
	must_be(reading.state, permitted, effective);
	MUST(!reading.jailed);
	release_reading(&reading);
	MUST(setuid(0) && errno == EPERM);
	release(&plan);
}

/* A user that stays the same keeps what exec(2) would give it by its rights profiles. */
static void profiles(void)
{
	struct plan plan = {.steps = 1u << STEP_XPOLICY | 1u << STEP_PFEXEC, .root = -1, .permitted = set_of("all")};
	struct reading reading = {0};
	struct failure why;

	plan.limit = plan.effective = plan.permitted;
	MUST(!setpflags(PRIV_XPOLICY, 1) && !setpflags(PRIV_PFEXEC, 1));
	MUST(!rehearse(&plan, &reading, &why) && !reading.state->flags);
	release_reading(&reading);
	MUST(getpflags(PRIV_XPOLICY) == 1 && getpflags(PRIV_PFEXEC) == 1);
	MUST(!commit(&plan, &reading, &why) && !reading.state->flags);
	release_reading(&reading);
	priv_freeset(plan.permitted);
}

/* A set has bits without a name; what is kept, or is "all", has them too. */
static void all_bits(void)
{
	priv_set_t *all = set_of("all"), *own = read_privileges(SET_PERMITTED), *named;
	char *names = privileges_to_text(all);

	MUST(priv_isfullset(all) && priv_isequalset(all, own));
	named = set_of(names);
	MUST(!priv_isfullset(named));
	free(names);
	priv_freeset(all);
	priv_freeset(own);
	priv_freeset(named);
}

static volatile sig_atomic_t children_ended;

static void count_children(int signo)
{
	(void)signo;
	children_ended++;
}

/* An application that reaps whatever ends, as some do, finds nothing of it. */
static void unseen(void)
{
	struct plan plan = plan_for("net_access", "net_access");
	struct reading reading = {0};
	struct failure why;

	signal(SIGCHLD, count_children);
	MUST(!rehearse(&plan, &reading, &why));
	MUST(!children_ended);
	release_reading(&reading);
	release(&plan);
}

/* What an application retains when it names nothing. */
static void to_nothing(void)
{
	struct plan plan = plan_for("", "");
	struct reading reading = {0};
	struct failure why;

	MUST(!rehearse(&plan, &reading, &why));
	release_reading(&reading);
	MUST(!commit(&plan, &reading, &why));
	must_be(reading.state, "", "");
	release_reading(&reading);
	release(&plan);
}

static void to_jail(void)
{
	struct plan plan = plan_for("file_read,file_write", "file_read,file_write");
	struct attempt attempts[] = {{STEP_READ, (char *)"/", 0}, {STEP_WRITE, (char *)"/", 0}, {STEP_READ, (char *)"/etc/passwd", 0}};
	char folder[] = "/tmp/privdrop-jail-XXXXXX";
	struct reading reading = {0};
	struct failure why;
	int second;

	MUST(mkdtemp(folder));
	plan.steps |= 1u << STEP_CHROOT;
	MUST((plan.root = open(folder, O_RDONLY | O_DIRECTORY)) >= 0);
	plan.attempts = attempts;
	plan.attempt_count = 3;
	MUST(rehearse(&plan, &reading, &why) && why.step == STEP_READ && why.item == 2 && why.error == ENOENT);
	for (size_t i = 0; i < 3; i++) {
		static const char *const fails[] = {"child:fchdir=13", "child:chroot=1", "child:chdir=13"};

		setenv("SUNOS_MODEL_FAIL", fails[i], 1);
		MUST(rehearse(&plan, &reading, &why) && why.step == STEP_FCHDIR + (enum step)i);
	}
	unsetenv("SUNOS_MODEL_FAIL");
	plan.attempt_count = 2;
	MUST(!rehearse(&plan, &reading, &why) && reading.jailed);
	release_reading(&reading);
	MUST((second = open("/usr", O_RDONLY | O_DIRECTORY)) >= 0);
	MUST(commit(&plan, &reading, &why) && why.step == STEP_DIRECTORY && why.item == second);
	close(second);
	MUST(!commit(&plan, &reading, &why) && reading.jailed);
	release_reading(&reading);
	close(plan.root);
	MUST(!rmdir(folder));
	release(&plan);
}

/* The caller puts up what goes wrong; here is what is to come of it. */
static void refused(const char *fail, enum step step, int error)
{
	struct plan plan = plan_for("net_access,net_privaddr", "net_privaddr");
	struct reading reading = {0};
	struct failure why = {0};

	setenv("SUNOS_MODEL_FAIL", fail, 1);
	MUST(rehearse(&plan, &reading, &why) == -1);
	if (why.step != step || why.error != error)
		fprintf(stderr, "# %s: step %d, errno %d\n", fail, why.step, why.error);
	MUST(why.step == step && why.error == error);
	setenv("SUNOS_MODEL_FAIL", "", 1);
	release(&plan);
}

static void refusals(void)
{
	struct plan beyond = plan_for("net_access", "net_access,net_privaddr");
	struct reading reading = {0};
	struct failure why;

	MUST(rehearse(&beyond, &reading, &why) && why.step == STEP_EFFECTIVE && why.error == EPERM);
	release(&beyond);
	refused("child:setgroups=22", STEP_SETGROUPS, EINVAL);
	refused("child:setgid=1", STEP_SETGID, EPERM);
	refused("child:setpflags 0x8=22", STEP_PROTECT, EINVAL);
	refused("child:setpflags 0x2=22", STEP_SETPFLAGS, EINVAL);
	refused("child:setuid=1", STEP_SETUID, EPERM);
	refused("child:setpflags 0x80=1", STEP_XPOLICY, EPERM);
	refused("child:setpflags 0x100=1", STEP_PFEXEC, EPERM);
	refused("child:setppriv Permitted=1", STEP_PERMITTED, EPERM);
	refused("child:setppriv Limit=1", STEP_LIMIT, EPERM);
	refused("child:setppriv Effective=1", STEP_EFFECTIVE, EPERM);
	refused("child:sigaction=22", STEP_SIGUSR1, EINVAL);
	refused("child:setuid 0=lie", STEP_REGAIN, 0);
	refused("child:ucred_get=12", STEP_READ_BACK, ENOMEM);
	refused("child:getppriv Limit=22", STEP_READ_BACK, EINVAL);
	refused("priv_allocset=12", STEP_MEMORY, ENOMEM);
	refused("sysconf=22", STEP_MEMORY, EINVAL);
	refused("mmap=12", STEP_MEMORY, ENOMEM);
	refused("forkx=11", STEP_CHILD, EAGAIN);
	refused("pthread_sigmask=22", STEP_CHILD, EINVAL);
}

static void attempts(void)
{
	struct attempt bind = {STEP_BIND, NULL, 25}, write = {STEP_WRITE, (char *)"/no/such", 0};
	struct plan plan = plan_for("net_access", "net_access");
	struct reading reading = {0};
	struct failure why;

	plan.attempts = &bind;
	plan.attempt_count = 1;
	MUST(rehearse(&plan, &reading, &why) && why.step == STEP_BIND && why.error == EACCES);
	setenv("SUNOS_MODEL_FAIL", "bind=98", 1); /* the privilege comes before the port */
	MUST(rehearse(&plan, &reading, &why) && why.step == STEP_BIND && why.error == EACCES);
	release(&plan);
	plan = plan_for("net_access,net_privaddr", "net_access,net_privaddr");
	plan.attempts = &bind;
	plan.attempt_count = 1;
	MUST(!rehearse(&plan, &reading, &why)); /* the server's own listener has it */
	release_reading(&reading);
	setenv("SUNOS_MODEL_FAIL", "socket=97;bind=98", 1);
	MUST(!rehearse(&plan, &reading, &why)); /* a kernel without this family */
	release_reading(&reading);
	setenv("SUNOS_MODEL_FAIL", "setsockopt=22;bind=98", 1);
	MUST(rehearse(&plan, &reading, &why) && why.step == STEP_BIND && why.error == EINVAL);
	plan.attempts = &write;
	MUST(rehearse(&plan, &reading, &why) && why.step == STEP_WRITE && why.error == ENOENT);
	release(&plan);
}

static void text(void)
{
	const char *bad, wrong[] = "basic, nonsense";
	priv_set_t *set = set_of("Priv_Net_Privaddr,, proc_fork\n");
	char *names = privileges_to_text(set);

	MUST(!strcmp(names, "net_privaddr,proc_fork"));
	free(names);
	priv_freeset(set);
	MUST(!privileges_from_text(wrong, &bad) && bad == wrong + 7 && errno == EINVAL);
}

static void looking(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int found[1], error = 0, listener;
	struct failure why;
	uid_t uid;
	gid_t gid;

	MUST((listener = socket(AF_INET, SOCK_STREAM, 0)) >= 0 && list_listeners(-1, found, 1, &why) == 0);
	/* the model binds nothing */
	MUST(!syscall(SYS_bind, listener, &here, sizeof here) && !listen(listener, 1));
	MUST(list_listeners(-1, NULL, 0, &why) == 1 && list_listeners(-1, found, 1, &why) == 1 && *found == listener);
	close(listener);
	setenv("SUNOS_MODEL_FAIL", "fdwalk=12", 1);
	MUST(list_listeners(-1, found, 4, &why) == -1 && why.step == STEP_DESCRIPTORS && why.error == ENOMEM);
	setenv("SUNOS_MODEL_FAIL", "fstat=5", 1);
	MUST(list_listeners(-1, found, 1, &why) == -1 && why.step == STEP_FSTAT && why.error == EIO);
	MUST(!has_children());
	MUST(user_by_name("root", &uid, &gid, &error) == 1 && uid == 0 && user_by_id(0, &gid, &error) == 1);
	MUST(group_by_name("root", &gid, &error) == 1 && group_by_name("no such group", &gid, &error) == 0);
}

static void commit_that_cannot(void)
{
	struct plan plan = plan_for("net_privaddr", "net_privaddr");
	struct reading reading = {0};
	struct failure why;

	setenv("SUNOS_MODEL_FAIL", "sysconf=22", 1);
	MUST(commit(&plan, &reading, &why) && why.step == STEP_MEMORY && why.error == EINVAL);
	setenv("SUNOS_MODEL_FAIL", "pthread_sigmask=22", 1);
	MUST(commit(&plan, &reading, &why) && why.step == STEP_MASK && why.error == EINVAL);
	setenv("SUNOS_MODEL_FAIL", "fdwalk=12", 1);
	MUST(commit(&plan, &reading, &why) && why.step == STEP_DESCRIPTORS && why.error == ENOMEM);
	release(&plan);
}

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"to an ordinary user that keeps two privileges", to_smtp},
	{"to an ordinary user that keeps none", to_nothing},
	{"into a chroot", to_jail},
	{"what is refused, and where", refusals},
	{"what the new user must be able to use", attempts},
	{"text to sets and back", text},
	{"descriptors, children, accounts", looking},
	{"a commit that cannot be begun", commit_that_cannot},
	{"flags by which more could be had", profiles},
	{"all the bits of a set", all_bits},
	{"a rehearsal is not seen by a handler of SIGCHLD", unseen},
};

int main(void)
{
	const size_t count = sizeof tests / sizeof *tests;
	bool failed = false;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < count; i++) {
		int status = -1;
		pid_t child = fork();

		if (!child) {
			alarm(60);
			model_start();
			tests[i].run();
			unsetenv("SUNOS_MODEL_HOST");
			exit(0); /* for gcov, and the leak detector */
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			fprintf(stderr, "# ended with %#x\n", status);
		printf("%sok %zu - %s\n", status ? "not " : "", i + 1, tests[i].name);
		failed = failed || status;
	}
	printf("1..%zu\n", count);
	return failed;
}
