/*
 * host.c - the core for Solaris and illumos without JavaScript, on the model of that system
 *
 * The same sources in a program for Linux, so that sanitizers and gcov can look at them. Each case runs in a child of its own.
 * Prints TAP. As an ordinary user.
 */
#include "../../src-native/sunos/sunos.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
static volatile uint8_t kept;

static step_set bit(enum step step) { return (step_set)1 << step; }

static priv_set_t *set_of(const char *text)
{
	const char *bad;
	priv_set_t *set = privileges_from_text(text, &bad);

	MUST(set);
	return set;
}

/* What it is, as one text; free() it. */
static char *text_of(struct state *state)
{
	char *text = malloc(state->size);

	MUST(text);
	write_state(state, text);
	return text;
}

static char *present(void)
{
	size_t size = state_size();
	struct state *state = malloc(size);
	char *text;

	MUST(state && !observe_process(state, size));
	text = text_of(state);
	free(state);
	return text;
}

static struct plan plan_for(const char *permitted, const char *effective)
{
	return (struct plan){
		.steps = bit(STEP_SETGROUPS) | bit(STEP_SETGID) | bit(STEP_SETPFLAGS) | bit(STEP_SETUID) | bit(STEP_XPOLICY) |
		         bit(STEP_PFEXEC) | bit(STEP_PERMITTED) | bit(STEP_LIMIT) | bit(STEP_EFFECTIVE),
		.uid = SMTP, .gid = SMTP + 1, .groups = groups, .group_count = 2, .account_groups = groups, .account_group_count = 2,
		.permitted = set_of(permitted), .limit = set_of(permitted), .effective = set_of(effective),
		.root = -1, .kept = &kept, .before = present(),
	};
}

static void release(struct plan *plan)
{
	priv_freeset(plan->permitted);
	priv_freeset(plan->limit);
	priv_freeset(plan->effective);
	free((void *)plan->before);
	free((void *)plan->expected);
}

/* What the child has left goes into the plan. */
static void rehearsed(struct plan *plan)
{
	struct rehearsal left;
	struct failure why = {0};

	if (rehearse(plan, &left, &why))
		fprintf(stderr, "# step %s, call %s, errno %d, item %d\n", step_names[why.step].step, why.call ? why.call : "", why.error, why.item);
	MUST(!why.error && !why.signo);
	free((void *)plan->expected);
	plan->expected = text_of(left.state);
	MUST(left.jailed == has_step(plan->steps, STEP_CHROOT));
	release_rehearsal(&left);
}

static void must_be(const char *permitted, const char *effective)
{
	char wanted[1000], *found = present();

	snprintf(wanted, sizeof wanted, "user 990 990 990\ngroup 991 991 991\ngroups 8 12\nflags 2\npermitted %s\nlimit %s\neffective %s\n",
	         permitted, permitted, effective);
	if (strncmp(found, wanted, strlen(wanted)))
		fprintf(stderr, "# %s", found);
	MUST(!strncmp(found, wanted, strlen(wanted)));
	free(found);
}

static void to_smtp(void)
{
	static const char permitted[] = "file_read,net_access,net_privaddr,proc_fork", effective[] = "net_access,net_privaddr";
	struct question questions[] = {{STEP_BIND, "", 25}};
	struct plan plan = plan_for(permitted, effective);
	struct committed done;
	struct failure why;
	char *before = present(), *after;

	plan.questions = questions;
	plan.question_count = 1;
	rehearsed(&plan);
	after = present();
	MUST(!strcmp(before, after) && !kept);
	MUST(!commit(&plan, &done, &why) && kept);
	must_be(permitted, effective);
	MUST(sigusr1_disposition() == IGNORED);
	MUST(setuid(0) && errno == EPERM);
	free(before);
	free(after);
	release(&plan);
}

/* What an application retains when it names nothing. */
static void to_nothing(void)
{
	struct plan plan = plan_for("", "");
	struct committed done;
	struct failure why;

	rehearsed(&plan);
	MUST(!commit(&plan, &done, &why));
	must_be("", "");
	release(&plan);
}

static void to_jail(void)
{
	struct plan plan = plan_for("file_read,file_write", "file_read,file_write");
	struct question questions[] = {{STEP_READ, "/", 0}, {STEP_WRITE, "/", 0}, {STEP_READ, "/etc/passwd", 0}};
	char folder[] = "/tmp/privdrop-jail-XXXXXX", inside[64];
	struct rehearsal left;
	struct committed done;
	struct failure why;
	int outside, within;

	MUST(mkdtemp(folder) && !syscall(SYS_chmod, folder, 0777));
	snprintf(inside, sizeof inside, "%s/inside", folder);
	MUST(!mkdir(inside, 0755));
	plan.steps |= bit(STEP_CHROOT);
	MUST((plan.root = open(folder, O_RDONLY | O_DIRECTORY)) >= 0);
	plan.questions = questions;
	plan.question_count = 3;
	MUST(!rehearse(&plan, &left, &why) && !left.answers[0].error && !left.answers[1].error && left.answers[2].error == ENOENT);
	release_rehearsal(&left);
	for (size_t i = 0; i < 3; i++) {
		static const char *const fails[] = {"child:fchdir=13", "child:chroot=1", "child:chdir=13"};

		setenv("SUNOS_MODEL_FAIL", fails[i], 1);
		MUST(rehearse(&plan, &left, &why) && why.step == STEP_FCHDIR + (enum step)i);
	}
	unsetenv("SUNOS_MODEL_FAIL");
	MUST((outside = open("/usr", O_RDONLY | O_DIRECTORY)) >= 0 && (within = open(inside, O_RDONLY | O_DIRECTORY)) >= 0);
	MUST(rehearse(&plan, &left, &why) && why.step == STEP_DIRECTORY && why.item == outside && !why.error);
	close(outside);
	plan.question_count = 2;
	MUST(!rehearse(&plan, &left, &why) && left.jailed && left.inside_count == 1 && left.inside[0].descriptor == within);
	plan.expected = text_of(left.state);
	MUST(commit(&plan, &done, &why) && why.step == STEP_DIRECTORY && why.item == within);
	plan.inside = left.inside;
	plan.inside_count = left.inside_count;
	MUST((outside = open("/usr", O_RDONLY | O_DIRECTORY)) >= 0);
	MUST(commit(&plan, &done, &why) && why.step == STEP_DIRECTORY && why.item == outside);
	close(outside);
	MUST(!commit(&plan, &done, &why) && is_jailed(plan.root));
	release_rehearsal(&left);
	close(plan.root);
	close(within);
	MUST(!syscall(SYS_rmdir, inside) && !syscall(SYS_rmdir, folder));
	release(&plan);
}

/* The caller puts up what goes wrong; here is what is to come of it. */
static void refused(const char *fail, enum step step, int error)
{
	struct plan plan = plan_for("net_access,net_privaddr", "net_privaddr");
	struct rehearsal left;
	struct failure why = {0};

	setenv("SUNOS_MODEL_FAIL", fail, 1);
	MUST(rehearse(&plan, &left, &why) == -1);
	if (why.step != step || why.error != error)
		fprintf(stderr, "# %s: step %s, errno %d\n", fail, step_names[why.step].step, why.error);
	MUST(why.step == step && why.error == error);
	setenv("SUNOS_MODEL_FAIL", "", 1);
	release(&plan);
}

static void refusals(void)
{
	struct plan beyond = plan_for("net_access", "net_access,net_privaddr");
	struct rehearsal left;
	struct failure why;

	MUST(rehearse(&beyond, &left, &why) && why.step == STEP_EFFECTIVE && why.error == EPERM);
	((char *)beyond.before)[strlen("user ")] ^= 1; /* made for another user */
	MUST(rehearse(&beyond, &left, &why) && why.step == STEP_COMPARE && !why.error);
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
	refused("child:setppriv Limit=lie", STEP_READ_BACK, 0);
	refused("child:sigaction=22", STEP_SIGUSR1, EINVAL);
	refused("child:setuid 0=lie", STEP_REGAIN, 0);
	refused("child:ucred_get=12", STEP_COMPARE, ENOMEM);
	refused("child:getppriv Inheritable=22", STEP_COMPARE, EINVAL);
	refused("priv_allocset=12", STEP_MEMORY, ENOMEM);
	refused("sysconf=22", STEP_MEMORY, EINVAL);
	refused("mmap=12", STEP_MEMORY, ENOMEM);
	refused("forkx=11", STEP_CHILD, EAGAIN);
	refused("pthread_sigmask=22", STEP_MASK, EINVAL);
}

static int answered(struct plan *plan, struct question *question, const char *fail)
{
	struct rehearsal left;
	struct failure why;
	int error;

	plan->questions = question;
	plan->question_count = 1;
	setenv("SUNOS_MODEL_FAIL", fail, 1);
	MUST(!rehearse(plan, &left, &why));
	error = left.answers[0].error;
	release_rehearsal(&left);
	setenv("SUNOS_MODEL_FAIL", "", 1);
	return error;
}

static void answers(void)
{
	struct question port = {STEP_BIND, "", 25}, file = {STEP_WRITE, "/no/such", 0}, open = {STEP_REOPEN, "", 1};
	struct plan plan = plan_for("net_access", "net_access");

	MUST(answered(&plan, &port, "") == EACCES);
	MUST(answered(&plan, &port, "bind=98") == EACCES); /* the privilege comes before the port */
	release(&plan);
	plan = plan_for("net_access,net_privaddr", "net_access,net_privaddr");
	MUST(!answered(&plan, &port, "bind=98"));           /* the server's own listener has it */
	MUST(!answered(&plan, &port, "socket=97;bind=98")); /* a kernel without this family */
	MUST(answered(&plan, &port, "setsockopt=22;bind=98") == EINVAL);
	MUST(answered(&plan, &file, "") == ENOENT);
	MUST(answered(&plan, &open, "") == EINVAL);
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
	gid_t gid, *list;
	size_t count;

	MUST((listener = socket(AF_INET, SOCK_STREAM, 0)) >= 0 && list_listeners(found, 1, &why) == 0);
	/* the model binds nothing */
	MUST(!syscall(SYS_bind, listener, &here, sizeof here) && !listen(listener, 1));
	MUST(list_listeners(NULL, 0, &why) == 1 && list_listeners(found, 1, &why) == 1 && *found == listener);
	MUST(type_of_descriptor(listener) == S_IFSOCK);
	close(listener);
	setenv("SUNOS_MODEL_FAIL", "fdwalk=12", 1);
	MUST(list_listeners(found, 1, &why) == -1 && why.step == STEP_DESCRIPTORS && why.error == ENOMEM);
	setenv("SUNOS_MODEL_FAIL", "", 1);
	MUST(!has_children());
	MUST(user_by_name("root", &uid, &gid, &error) == 1 && uid == 0 && user_by_id(0, &gid, &error) == 1);
	MUST(group_by_name("root", &gid, &error) == 1 && group_by_name("no such group", &gid, &error) == 0);
	MUST(!account_groups(0, 0, &list, &count) && count == 3 && list[0] == 0 && list[2] == 14);
	free(list);
}

static void directories(void)
{
	char stale[40];
	struct directory found[8];
	struct failure why;
	int root = open("/", O_RDONLY | O_DIRECTORY), usr = open("/usr", O_RDONLY | O_DIRECTORY);

	MUST(root >= 0 && usr >= 0);
	MUST(list_directories(root, found, 8, &why) == 1 && found[0].descriptor == usr);
	snprintf(stale, sizeof stale, "fstat %d=116", usr); /* ESTALE */
	setenv("SUNOS_MODEL_FAIL", stale, 1);
	MUST(list_directories(root, found, 8, &why) == 0);
	snprintf(stale, sizeof stale, "fstat %d=116", root);
	setenv("SUNOS_MODEL_FAIL", stale, 1);
	MUST(list_directories(root, found, 8, &why) == -1 && why.error == ESTALE && why.item == root);
	setenv("SUNOS_MODEL_FAIL", "fstat=5", 1);
	MUST(list_directories(root, found, 8, &why) == -1 && why.error == EIO && !strcmp(why.call, "fstat"));
	setenv("SUNOS_MODEL_FAIL", "access /proc/self/fd=2", 1);
	setenv("SUNOS_MODEL_FILES", "65537", 1);
	MUST(list_directories(root, found, 8, &why) == -1 && why.error == ENOENT && !strcmp(why.call, "access"));
	setenv("SUNOS_MODEL_FILES", "65536", 1);
	MUST(list_directories(root, found, 8, &why) == 1);
	setenv("SUNOS_MODEL_FAIL", "", 1);
	close(root);
	close(usr);
}

/* Of one path, for this user. */
static enum exchanged_by exchanged(uid_t uid, const char *path, int last_too, const char *component)
{
	struct question question = {STEP_EXCHANGE, path, last_too};
	struct plan plan = plan_for("net_access", "net_access");
	struct rehearsal left;
	struct failure why;
	enum exchanged_by by;

	plan.uid = uid;
	plan.questions = &question;
	plan.question_count = 1;
	MUST(!rehearse(&plan, &left, &why) && !left.answers[0].error);
	by = left.answers[0].by;
	if (by != EXCHANGED_BY_NONE && strcmp(left.found + left.answers[0].found, component))
		fprintf(stderr, "# %s\n", left.found + left.answers[0].found);
	MUST(by == EXCHANGED_BY_NONE || !strcmp(left.found + left.answers[0].found, component));
	release_rehearsal(&left);
	release(&plan);
	return by;
}

/* Folders of the user that this program is, which is neither root nor the server's. */
static void exchanges(void)
{
	const uid_t own = (uid_t)syscall(SYS_getuid);
	char folder[] = "/tmp/privdrop-way-XXXXXX", inside[64], link[64], walked[WALK_PATH_MAX];
	struct failure why;
	int root;

	MUST(mkdtemp(folder) && !syscall(SYS_chmod, folder, 0755));
	snprintf(inside, sizeof inside, "%s/inside", folder);
	snprintf(link, sizeof link, "%s/link", folder);
	MUST(!mkdir(inside, 0755) && !symlink("inside/.", link));
	MUST(exchanged(SMTP, "/usr/bin/env", 1, "") == EXCHANGED_BY_NONE);
	MUST(exchanged(own, inside, 0, folder) == EXCHANGED_BY_USER); /* in a sticky folder, by its owner */
	MUST(exchanged(SMTP, inside, 0, folder) == EXCHANGED_BY_OTHERS);
	MUST(!syscall(SYS_chmod, inside, 0757) && exchanged(SMTP, inside, 1, inside) == EXCHANGED_BY_WRITER);
	MUST(exchanged(SMTP, inside, 0, folder) == EXCHANGED_BY_OTHERS);
	MUST(!syscall(SYS_chmod, folder, 0757) && exchanged(SMTP, inside, 0, inside) == EXCHANGED_BY_USER);
	MUST(exchanged(SMTP, link, 0, link) == EXCHANGED_BY_USER);
	MUST(!syscall(SYS_chmod, folder, 0751) && exchanged(SMTP, inside, 0, folder) == EXCHANGED_BY_OTHERS); /* root's reach */

	MUST((root = open_root(link, walked, &why)) >= 0 && !strcmp(walked, inside));
	close(root);
	MUST(open_root("/usr/bin/env", walked, &why) == -1 && why.step == STEP_CHROOT && why.error == ENOTDIR);
	MUST(open_root("/no/such", walked, &why) == -1 && why.error == ENOENT && !strcmp(walked, "/no"));
	MUST(!syscall(SYS_unlink, link) && !syscall(SYS_rmdir, inside) && !syscall(SYS_rmdir, folder));
}

static void commit_that_cannot(void)
{
	static const struct {
		const char *fail;
		enum step step;
		int error;
	} all[] = {
		{"sysconf=22", STEP_MEMORY, EINVAL},
		{"pthread_sigmask=22", STEP_MASK, EINVAL},
		{"ucred_get=12", STEP_COMPARE, ENOMEM},
	};
	struct plan plan = plan_for("net_privaddr", "net_privaddr");
	struct committed done;
	struct failure why;

	rehearsed(&plan);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		setenv("SUNOS_MODEL_FAIL", all[i].fail, 1);
		MUST(commit(&plan, &done, &why) && why.step == all[i].step && why.error == all[i].error);
	}
	setenv("SUNOS_MODEL_FAIL", "", 1);
	MUST(!setgid(7)); /* another thread, since the plan was made */
	MUST(commit(&plan, &done, &why) && why.step == STEP_COMPARE && !why.error && !kept);
	release(&plan);
}

/* A user that stays the same keeps what exec(2) would give it by its rights profiles. */
static void profiles(void)
{
	struct plan plan;
	struct committed done;
	struct failure why;

	MUST(!setpflags(PRIV_XPOLICY, 1) && !setpflags(PRIV_PFEXEC, 1));
	plan = plan_for("all", "all");
	plan.uid = plan.gid = 0;
	plan.steps = bit(STEP_XPOLICY) | bit(STEP_PFEXEC);
	rehearsed(&plan);
	MUST(strstr(plan.expected, "flags 0\n"));
	MUST(getpflags(PRIV_XPOLICY) == 1 && getpflags(PRIV_PFEXEC) == 1);
	MUST(!commit(&plan, &done, &why));
	MUST(!getpflags(PRIV_XPOLICY) && !getpflags(PRIV_PFEXEC));
	release(&plan);
}

/* A set has bits without a name; what is kept, or is "all", has them too. */
static void all_bits(void)
{
	priv_set_t *all = set_of("all"), *own = read_privileges(SET_PERMITTED), *named;
	char *names = privileges_to_text(all), *before = present(), *after;
	struct plan plan;
	struct rehearsal left;
	struct failure why;

	MUST(priv_isfullset(all) && priv_isequalset(all, own));
	named = set_of(names);
	MUST(!priv_isfullset(named));
	MUST(!setpflags(PRIV_AWARE, 1) && !setppriv(PRIV_SET, PRIV_EFFECTIVE, named));
	after = present();
	MUST(strstr(before, "win_upgrade_sl,xvm_control and more\ninheritable"));
	MUST(strstr(after, "win_upgrade_sl,xvm_control\ninheritable"));
	/* by name they are the same */
	plan = plan_for("all", "all");
	plan.steps = bit(STEP_SETPFLAGS);
	plan.uid = plan.gid = 0;
	MUST(rehearse(&plan, &left, &why) && why.step == STEP_READ_BACK && !why.error);
	release(&plan);
	free(names);
	free(before);
	free(after);
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

	signal(SIGCHLD, count_children);
	rehearsed(&plan);
	MUST(!children_ended);
	release(&plan);
}

static void sigusr1(void)
{
	struct sigaction own = {.sa_handler = count_children, .sa_flags = SA_RESTART}, inspectors = {.sa_handler = count_children}, now;

	MUST(!hold_sigusr1(true) && sigusr1_disposition() == IGNORED);
	MUST(!give_sigusr1_back() && sigusr1_disposition() == DEFAULT);
	MUST(!sigaction(SIGUSR1, &inspectors, NULL) && !hold_sigusr1(true) && sigusr1_disposition() == IGNORED);
	MUST(!give_sigusr1_back() && sigusr1_disposition() == CAUGHT);
	MUST(!sigaction(SIGUSR1, &own, NULL) && hold_sigusr1(true) == 1 && !check_sigusr1(true) && check_sigusr1(false));
	MUST(!give_sigusr1_back() && !sigaction(SIGUSR1, NULL, &now) && now.sa_handler == count_children);
	MUST(!hold_sigusr1(false) && !check_sigusr1(false));
	setenv("SUNOS_MODEL_FAIL", "sigaction 10=22", 1);
	MUST(hold_sigusr1(false) == -1);
	setenv("SUNOS_MODEL_FAIL", "", 1);
}

/* Past the line: what a process that has met this says at last. */
static void must_end_with(struct plan plan, const char *fail, const char *step, const char *what)
{
	struct committed done;
	struct failure why;
	char found[600] = "", wanted[600];
	int output[2], status;
	pid_t child;

	rehearsed(&plan);
	MUST(!pipe(output));
	if (!(child = fork())) {
		dup2(output[1], STDERR_FILENO);
		setenv("SUNOS_MODEL_FAIL", fail, 1);
		commit(&plan, &done, &why);
		_exit(1);
	}
	close(output[1]);
	MUST(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	MUST(read(output[0], found, sizeof found - 1) > 0);
	close(output[0]);
	snprintf(wanted, sizeof wanted, "privdrop: fatal: step %s in thread %d: wanted %s",
	         step, child, what);
	if (strncmp(found, wanted, strlen(wanted)))
		fprintf(stderr, "# %s\n# %s", wanted, found);
	MUST(!strncmp(found, wanted, strlen(wanted)) && strchr(found, '\n') == found + strlen(found) - 1);
	release(&plan);
}

static void must_end(const char *privileges, const char *fail, const char *step, const char *what)
{
	must_end_with(plan_for(privileges, privileges), fail, step, what);
}

/* All but one of the bits that have no name, which no text tells. */
static struct plan plan_without_a_bit(void)
{
	struct plan plan = plan_for("all", "all");

	((unsigned char *)plan.limit)[95 / 8] &= 0x7f;
	MUST(!priv_isfullset(plan.limit));
	return plan;
}

static void ends(void)
{
	static const char some[] = "net_access,proc_fork", none[] = "net_access";

	must_end(some, "setgid=1", "'setgid' (setgid)", "success, found errno 1");
	must_end(some, "setuid=lie", "'read back' (ucred_get)", "user 990 990 990, found user 0 0 0");
	must_end(some, "setppriv Limit=lie", "'read back' (ucred_get)", "limit net_access,proc_fork, found limit contract_event,");
	must_end(some, "setpflags 0x2=lie;setppriv=lie", "'read back' (ucred_get)", "flags 2, found flags 0");
	must_end_with(plan_without_a_bit(), "setppriv Limit=lie", "'read back' (ucred_get)", "the sets of the plan, found others");
	/* it cannot fork any more: the pipe takes the line as it is */
	must_end(none, "setppriv Effective=1", "'effective' (setppriv)", "success, found errno 1");
}

static const struct test {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"to an ordinary user that keeps two privileges", to_smtp},
	{"to an ordinary user that keeps none", to_nothing},
	{"into a chroot", to_jail},
	{"what is refused, and where", refusals},
	{"what the new user must be able to use", answers},
	{"text to sets and back", text},
	{"descriptors, children, accounts", looking},
	{"a commit that cannot be begun", commit_that_cannot},
	{"flags by which more could be had", profiles},
	{"all the bits of a set", all_bits},
	{"a rehearsal is not seen by a handler of SIGCHLD", unseen},
	{"directories", directories},
	{"SIGUSR1", sigusr1},
	{"the end", ends},
	{"what another process can exchange", exchanges},
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
