/*
 * core.c - the C core in a program of its own, for the sanitizers: every call that it makes is made to fail once
 *
 * Linked with --wrap, so that each call of the core into the C library comes by here first. An act of the core is done in a
 * child, once for each of its calls, which then fails; a call of the rehearsing child or of a parked thread, too. What may
 * come of it: the act is refused and nothing has changed; or it is done; or the process is ended, with a line that says so: past
 * the line in commit(), or where it could not be as it was before. Prints one line for each act; ends at the first case that
 * is odd.
 *
 * core repeat: many rounds of each act without a fault; how much memory, how many descriptors and mappings there are more
 * afterwards.
 *
 * core break|repeat [ACT], as root.
 */
#define _GNU_SOURCE
#include "../../src-native/linux/linux.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <sanitizer/allocator_interface.h>
#include <sanitizer/lsan_interface.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, THREADS = 2, LONGEST_S = 60, ROUNDS = 10000, ODD = 3, TURNS = 1000 };

/* ---- faults ---- */

enum scope { OURS, CHILDS };

static struct {
	bool armed, onwards;
	enum scope scope; /* this process with all its threads, or the child that rehearses */
	unsigned nth;
	int error;
} fault;
static atomic_uint *calls; /* of each scope; shared with the children */
static pid_t own_process;

long __real_syscall(long number, ...);

static bool fails(void)
{
	enum scope scope;
	unsigned nth;

	if (!fault.armed)
		return false;
	scope = __real_syscall(SYS_getpid) == own_process ? OURS : CHILDS;
	nth = atomic_fetch_add(&calls[scope], 1) + 1;
	if (scope != fault.scope || nth < fault.nth || (nth > fault.nth && !fault.onwards))
		return false;
	errno = fault.error;
	return true;
}

/* What cannot fail, and what nothing depends on. */
static bool is_infallible(long number)
{
	return number == SYS_futex || number == SYS_gettid || number == SYS_tgkill || number == SYS_exit_group;
}

long __wrap_syscall(long number, ...);
/* As syscall(2) does it takes six words, however many there are. */
__attribute__((no_sanitize("address"))) long __wrap_syscall(long number, ...)
{
	long words[6];
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < 6; i++)
		words[i] = va_arg(list, long);
	va_end(list);
	if (!is_infallible(number) && fails())
		return -1;
	return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

#define WRAP(result, name, parameters, arguments, failure)                                                             \
	result __real_##name parameters;                                                                               \
	result __wrap_##name parameters;                                                                               \
	result __wrap_##name parameters                                                                                \
	{                                                                                                              \
		return fails() ? (failure) : __real_##name arguments;                                                  \
	}
WRAP(int, open, (const char *path, int flags), (path, flags), -1)
WRAP(int, openat, (int folder, const char *path, int flags), (folder, path, flags), -1)
WRAP(ssize_t, read, (int file, void *to, size_t size), (file, to, size), -1)
WRAP(ssize_t, readlinkat, (int folder, const char *path, char *to, size_t size), (folder, path, to, size), -1)
WRAP(off_t, lseek, (int file, off_t to, int from), (file, to, from), -1)
WRAP(int, fstatfs, (int file, struct statfs *system), (file, system), -1)
WRAP(int, poll, (struct pollfd *files, nfds_t count, int limit), (files, count, limit), -1)
WRAP(int, pipe2, (int ends[2], int flags), (ends, flags), -1)
WRAP(void *, mmap, (void *at, size_t size, int protection, int flags, int file, off_t from),
     (at, size, protection, flags, file, from), MAP_FAILED)
WRAP(int, clone, (int (*body)(void *), void *stack, int flags, void *argument, pid_t *tid),
     (body, stack, flags, argument, tid), -1)
WRAP(int, prctl, (int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d), (option, a, b, c, d), -1)
WRAP(int, getgrouplist, (const char *user, gid_t group, gid_t *groups, int *count), (user, group, groups, count), -1)
WRAP(int, getgroups, (int size, gid_t *groups), (size, groups), -1)
WRAP(int, socket, (int family, int type, int protocol), (family, type, protocol), -1)
WRAP(int, setsockopt, (int socket, int level, int name, const void *value, socklen_t size),
     (socket, level, name, value, size), -1)
WRAP(int, getsockopt, (int socket, int level, int name, void *value, socklen_t *size),
     (socket, level, name, value, size), -1)
WRAP(int, bind, (int socket, const struct sockaddr *address, socklen_t size), (socket, address, size), -1)
WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t count, size_t size), (count, size), NULL)
WRAP(char *, strdup, (const char *text), (text), NULL)
WRAP(void *, realloc, (void *memory, size_t size), (memory, size), NULL)
WRAP(int, getpwnam_r, (const char *name, struct passwd *user, char *buffer, size_t size, struct passwd **found),
     (name, user, buffer, size, found), fault.error)
WRAP(int, getpwuid_r, (uid_t id, struct passwd *user, char *buffer, size_t size, struct passwd **found),
     (id, user, buffer, size, found), fault.error)
WRAP(int, getgrnam_r, (const char *name, struct group *group, char *buffer, size_t size, struct group **found),
     (name, group, buffer, size, found), fault.error)
/* These two are done all the same: Linux closes what it could not close well, and who has not been reaped would stay. */
WRAP(int, close, (int file), (file), (__real_close(file), errno = fault.error, -1))
WRAP(pid_t, waitpid, (pid_t child, int *status, int options), (child, status, options),
     (__real_waitpid(child, status, options), errno = fault.error, -1))

/* ---- what a process is, as far as nothing of it may change ---- */

static void tell_lines(FILE *to, const char *path, const char *const *wanted)
{
	FILE *status = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	while (status && getline(&line, &size, status) > 0)
		for (size_t i = 0; wanted[i]; i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i])))
				fputs(line, to);
	free(line);
	if (status)
		fclose(status);
}

static unsigned count_entries(const char *path)
{
	DIR *folder = opendir(path);
	unsigned count = 0;

	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count;
}

/* free() it. */
static char *snapshot(void)
{
	static const char *const of_thread[] = {"Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "SigBlk:", NULL};
	static const char *const of_process[] = {"SigIgn:", "SigCgt:", NULL};
	char *text = NULL, path[300], link[2][PATH_MAX] = {{0}};
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;

	while ((entry = readdir(tasks))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
		tell_lines(to, path, of_thread);
	}
	closedir(tasks);
	tell_lines(to, "/proc/self/status", of_process);
	if (readlink("/proc/self/root", link[0], PATH_MAX - 1) < 0 || readlink("/proc/self/cwd", link[1], PATH_MAX - 1) < 0)
		exit(ODD);
	fprintf(to, "%s %s, %u descriptors\n", link[0], link[1], count_entries("/proc/self/fd"));
	fclose(to);
	return text;
}

/* ---- acts: 0, or the step that was refused ---- */

static char jail[] = "/tmp/privdrop-XXXXXX"; /* where all may write */

#define STEP(name) ((step_set)1 << STEP_##name)

static volatile uint8_t is_kept;
static int file; /* open, and root's */

static struct plan plan_to_nobody(const char *status, uint32_t securebits, int root)
{
	static const gid_t groups[] = {8, 12};
	static struct question questions[] = {
		{STEP_EXCHANGE, jail, 0}, {STEP_READ, "/", 0}, {STEP_WRITE, "/", 0}, {STEP_ENTER, "/", 0}, {STEP_BIND, NULL, 25}, {STEP_REOPEN, NULL, 0},
	};
	const uint64_t kept = UINT64_C(1) << 10 | UINT64_C(1) << 1; /* CAP_NET_BIND_SERVICE, CAP_DAC_OVERRIDE */
	const uint64_t all = (UINT64_C(1) << capability_count()) - 1;

	questions[5].number = file;
	return (struct plan){
		.before = {status, strlen(status)},
		.securebits = securebits,
		.held = {all, all, 0, 0, 0},
		.steps = STEP(BOUNDING) | STEP(SETGROUPS) | STEP(SETRESGID) | STEP(KEEPCAPS) | STEP(SETRESUID) | STEP(CAPSET) |
	                 STEP(KEEPCAPS_BACK) | STEP(AMBIENT) | STEP(NO_NEW_PRIVS) | (root < 0 ? 0 : STEP(CHROOT)),
		.uid = NOBODY,
		.gid = NOBODY,
		.groups = groups,
		.group_count = 2,
		.account_groups = groups,
		.account_group_count = 2,
		.sets = {kept, kept, kept, kept, kept},
		.bounding_drop = all & ~kept,
		.root = root,
		.questions = questions,
		.question_count = sizeof questions / sizeof *questions,
		.kept = &is_kept,
	};
}

static int do_observe(void)
{
	uint32_t securebits;
	struct failure why;
	char *status;

	if (observe_thread(&status, &securebits, &why))
		return why.step;
	free(status);
	return 0;
}

static int do_accounts(void)
{
	uid_t uid;
	gid_t gid;
	int error = 0;
	int answers = user_by_name("nobody", &uid, &gid, &error) + user_by_id(NOBODY, &gid, &error) +
	              group_by_name("mail", &gid, &error);

	if (user_by_name("no-such-user", &uid, &gid, &error) > 0 || group_by_name("no-such-group", &gid, &error) > 0)
		exit(ODD);
	return answers == 3 ? 0 : -1;
}

static int do_text(void)
{
	struct capability_sets sets;
	int error = capabilities_from_text("cap_net_bind_service+ep cap_kill+i", &sets);

	for (unsigned i = 0; i < capability_count(); i++)
		capability_name_free(capability_name(i));
	return error || (sets.permitted == 1 << 10 && sets.inheritable == 1 << 5) ? error : -1;
}

static int do_groups(void)
{
	gid_t *groups;
	size_t count;
	int error = account_groups(1, 4711, &groups, &count); /* daemon */

	if (error)
		return error;
	if (!count || groups[0] != 4711)
		exit(ODD);
	free(groups);
	return 0;
}

static int do_descriptors(void)
{
	struct descriptor found[4];
	struct failure why;

	return list_descriptors(found, 4, &why) < 0 ? (int)why.step : 0;
}

static int do_sigusr1(void)
{
	if (hold_sigusr1(false))
		return STEP_SIGUSR1;
	if (give_sigusr1_back() && give_sigusr1_back()) /* one of them can fail */
		exit(ODD);
	return 0;
}

/* What the child has left is right, and so are its answers: 0; else the step. */
static int judge_rehearsal(const struct plan *plan, const struct rehearsal *left)
{
	static const char *const lines[] = {
		"\nUid:\t65534\t65534\t65534\t65534\n", "\nGid:\t65534\t65534\t65534\t65534\n", "\nGroups:\t8 12 \n",
		"\nCapInh:\t0000000000000402\n",        "\nCapPrm:\t0000000000000402\n",        "\nCapEff:\t0000000000000402\n",
		"\nCapBnd:\t0000000000000402\n",        "\nCapAmb:\t0000000000000402\n",        "\nNoNewPrivs:\t1\n",
	};

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		if (!memmem(left->status.at, left->status.length, lines[i], strlen(lines[i])))
			return STEP_READ_BACK;
	if (left->dumpable || left->securebits != plan->securebits || left->jailed != (plan->root >= 0))
		return STEP_READ_BACK;
	for (size_t i = 0; i < plan->question_count; i++)
		if (left->answers[i].error || left->answers[i].by == EXCHANGED_BY_USER)
			return plan->questions[i].kind;
	return 0;
}

static int rehearse_and_judge(struct plan *plan, struct rehearsal *left)
{
	struct failure why = {0};
	int result;

	if (rehearse(plan, left, &why))
		return why.step;
	if ((result = judge_rehearsal(plan, left)))
		release_rehearsal(left);
	return result;
}

static int just_rehearse(struct plan *plan)
{
	struct rehearsal left;
	int result = rehearse_and_judge(plan, &left);

	if (!result)
		release_rehearsal(&left);
	return result;
}

/* After a rehearsal in which nothing fails: that is an act of its own. */
static int rehearse_and_commit(struct plan *plan)
{
	bool armed = fault.armed;
	struct committed done;
	struct rehearsal left;
	struct failure why = {0};
	int result;

	fault.armed = false;
	if (rehearse_and_judge(plan, &left))
		exit(ODD);
	fault.armed = armed;
	plan->expected = left.status;
	plan->inside = left.inside;
	plan->inside_count = left.inside_count;
	if ((result = commit(plan, &done, &why) ? (int)why.step : 0) == 0) {
		if (done.count != THREADS + 1)
			exit(ODD);
		release_commit(&done);
	}
	if (is_kept != !result)
		exit(ODD);
	release_rehearsal(&left);
	return result;
}

/* Every thread is parked and compared, and then a directory is open that is not on the list: refused, and let go. */
static int park_and_refuse(struct plan *plan)
{
	struct committed done;
	struct failure why = {0};

	plan->expected = plan->before;
	if (!commit(plan, &done, &why) || is_kept)
		exit(ODD);
	return why.step == STEP_DIRECTORY ? 0 : (int)why.step;
}

static int do_plan(int (*act)(struct plan *), bool chroot)
{
	char walked[PATH_MAX], *status;
	uint32_t securebits;
	struct failure why = {0};
	struct plan plan;
	int root = chroot ? open_root(jail, walked, &why) : -1;
	int result;

	if (chroot && root < 0)
		return why.step;
	if (observe_thread(&status, &securebits, &why)) {
		result = why.step;
	} else {
		plan = plan_to_nobody(status, securebits, root);
		result = act(&plan);
		free(status);
	}
	if (chroot)
		__real_close(root);
	return result;
}

static int do_rehearse(void)
{
	return do_plan(just_rehearse, false);
}

static int do_rehearse_in_chroot(void)
{
	return do_plan(just_rehearse, true);
}

static int do_park(void)
{
	return do_plan(park_and_refuse, true);
}

static int do_commit(void)
{
	return do_plan(rehearse_and_commit, false);
}

static int do_commit_in_chroot(void)
{
	return do_plan(rehearse_and_commit, true);
}

static const struct act {
	const char *name;
	int (*once)(void);
	bool final; /* commit(): the process may be ended, and is another if it is done */
	bool child;
	unsigned rounds;
} acts[] = {
	{"observe", do_observe, false, false, ROUNDS},
	{"accounts", do_accounts, false, false, ROUNDS / 10},
	{"capabilities", do_text, false, false, ROUNDS},
	{"groups", do_groups, false, false, ROUNDS / 10},
	{"signal", do_sigusr1, false, false, ROUNDS},
	{"descriptors", do_descriptors, false, false, ROUNDS / 10},
	{"rehearse", do_rehearse, false, true, ROUNDS / 20},
	{"rehearse in a chroot", do_rehearse_in_chroot, false, true, ROUNDS / 20},
	{"park and refuse", do_park, false, false, ROUNDS / 10},
	{"commit", do_commit, true, false, 0},
	{"commit in a chroot", do_commit_in_chroot, true, false, 0},
};

/* ---- cases ---- */

static pthread_barrier_t begun;

static void *rest(void *unused)
{
	pthread_barrier_wait(&begun);
	for (;;)
		pause();
	return unused;
}

/* Descriptors of each kind that means something, and threads. */
static void settle(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t thread;

	if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 1) ||
	    socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP) < 0 ||
	    socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) < 0 ||
	    (file = open("/etc/shadow", O_RDONLY | O_CLOEXEC)) < 0)
		exit(ODD);
	pthread_barrier_init(&begun, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, rest, NULL))
			exit(ODD);
	pthread_barrier_wait(&begun);
}

/* The end of a case: 0 done, 1 refused, and nothing has changed. */
static _Noreturn void run(const struct act *act)
{
	char *before = snapshot(), *after;
	int result;

	fault.armed = true;
	result = act->once();
	fault.armed = false;
	if (!result && act->final)
		_exit(getuid() == NOBODY && setuid(0) ? 0 : ODD); /* each thread: rehearse_and_commit() */
	after = snapshot();
	/* A thread that was stopped may be on its way out of the handler still, with that one's mask. */
	for (unsigned turns = 0; strcmp(before, after); turns++) {
		if (turns == TURNS) {
			fprintf(stderr, "%s became %s", before, after);
			_exit(ODD);
		}
		sched_yield();
		free(after);
		after = snapshot();
	}
	free(before);
	free(after);
	_exit(__lsan_do_recoverable_leak_check() ? ODD : result ? 1 : 0);
}

static volatile pid_t child;

static void on_alarm(int signo)
{
	(void)signo;
	kill(child, SIGKILL);
}

enum outcome { DONE, REFUSED, ENDED };

static enum outcome try(const struct act *act)
{
	static const char line[] = "privdrop: fatal: step '";
	char said[8192];
	size_t length = 0;
	ssize_t got;
	int status, ends[2];

	atomic_store(&calls[OURS], 0);
	atomic_store(&calls[CHILDS], 0);
	if (pipe(ends) || (child = fork()) < 0)
		exit(ODD);
	if (!child) {
		own_process = getpid();
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		settle();
		run(act);
	}
	close(ends[1]);
	alarm(LONGEST_S);
	while ((got = read(ends[0], said + length, sizeof said - 1 - length)) > 0)
		length += (size_t)got;
	said[length] = '\0';
	close(ends[0]);
	if (waitpid(child, &status, 0) != child)
		exit(ODD);
	alarm(0);
	if (WIFEXITED(status) && WEXITSTATUS(status) <= 1 && !length)
		return WEXITSTATUS(status) ? REFUSED : DONE;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !strncmp(said, line, sizeof line - 1)) {
		const char *step = said + sizeof line - 1;

		printf("%s ended in '%.*s', errno %d\n", act->name, (int)strcspn(step, "'"), step, fault.error);
		return ENDED;
	}
	printf("odd: %s: call %u%s, errno %d: status %#x: %s\n", act->name, fault.nth, fault.scope ? " of the child" : "",
	       fault.error, status, said);
	rmdir(jail);
	exit(1);
}

/* Each of its calls in turn, until there are no more. */
static void try_all(const struct act *act, enum scope scope, int error, bool onwards, unsigned outcomes[3])
{
	fault.scope = scope;
	fault.error = error;
	fault.onwards = onwards;
	for (fault.nth = 1;; fault.nth++) {
		enum outcome outcome = try(act);

		if (atomic_load(&calls[scope]) < fault.nth)
			break;
		outcomes[outcome]++;
	}
}

static const char *only; /* one act, or NULL */

static int break_everything(void)
{
	static const int errors[] = {EPERM, ENOENT, EINVAL};

	signal(SIGALRM, on_alarm);
	for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
		unsigned outcomes[3] = {0};

		if (only && strcmp(only, acts[i].name))
			continue;
		for (size_t j = 0; j < (acts[i].final ? 1 : sizeof errors / sizeof *errors); j++) {
			try_all(&acts[i], OURS, errors[j], false, outcomes);
			if (acts[i].child)
				try_all(&acts[i], CHILDS, errors[j], false, outcomes);
		}
		if (acts[i].once == do_accounts)
			try_all(&acts[i], OURS, ERANGE, true, outcomes);
		printf("%s: %u done, %u refused, %u ended\n", acts[i].name, outcomes[DONE], outcomes[REFUSED],
		       outcomes[ENDED]);
	}
	return 0;
}

static unsigned count_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned count = 0;

	for (int letter; (letter = getc(maps)) != EOF;)
		count += letter == '\n';
	fclose(maps);
	return count;
}

static int repeat_everything(void)
{
	settle();
	for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
		size_t memory = 0;
		unsigned descriptors = 0, maps = 0;

		if (acts[i].final || (only && strcmp(only, acts[i].name)))
			continue;
		for (unsigned round = 0; round < acts[i].rounds; round++) {
			if (round == 10) { /* what the C library keeps it keeps from the first times on */
				memory = __sanitizer_get_current_allocated_bytes();
				descriptors = count_entries("/proc/self/fd");
				maps = count_maps();
			}
			if (acts[i].once())
				return ODD;
		}
		printf("%s: %u rounds, %zd bytes, %d descriptors, %d mappings more\n", acts[i].name, acts[i].rounds,
		       (ssize_t)(__sanitizer_get_current_allocated_bytes() - memory),
		       (int)(count_entries("/proc/self/fd") - descriptors), (int)(count_maps() - maps));
	}
	return 0;
}

/* core break|repeat [ACT] */
int main(int count, char **words)
{
	int result;

	only = count > 2 ? words[2] : NULL;
	setvbuf(stdout, NULL, _IOLBF, 0);
	calls = mmap(NULL, 2 * sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (count < 2 || calls == MAP_FAILED || !mkdtemp(jail) || chmod(jail, 0777))
		return ODD;
	result = strcmp(words[1], "repeat") ? break_everything() : repeat_everything();
	rmdir(jail);
	return result;
}
