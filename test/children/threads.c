/*
 * threads.c - threads that Node does not know, in a Node process, for the tests that need an odd one
 *
 * Plain N-API; compiled by the test that uses it. One odd thread at a time; it ends with stop().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <node_api.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_t thread;
static sem_t ready, over;
static int tid;

static void stand(void)
{
	tid = syscall(SYS_gettid);
	sem_post(&ready);
	while (sem_wait(&over))
		;
}

static void *blocked(void *unused)
{
	uint64_t all = ~UINT64_C(0);

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
	stand();
	return unused;
}

static void *other(void *unused)
{
	syscall(SYS_setresuid, -1, 8, -1);
	stand();
	return unused;
}

static napi_value lose_raw_here(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	prctl(PR_CAPBSET_DROP, CAP_NET_RAW);
	return NULL;
}

static void *less(void *unused)
{
	lose_raw_here(NULL, NULL);
	stand();
	return unused;
}

/* Each id another, and each set; user 0 is the effective one, or the kernel would take the sets away. */
static void *mixed(void *unused)
{
	static const gid_t groups[] = {9, 10};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];

	syscall(SYS_setgroups, 2, groups);
	syscall(SYS_setresgid, 5, 6, 7);
	syscall(SYS_setfsgid, 8);
	syscall(SYS_setresuid, 1, 0, 3);
	syscall(SYS_setfsuid, 4);
	syscall(SYS_capget, &header, sets);
	sets[0].effective = 1 << CAP_KILL;
	sets[0].inheritable = 1 << CAP_CHOWN;
	sets[1].effective = 0;
	syscall(SYS_capset, &header, sets);
	stand();
	return unused;
}

static void *fs_of_its_own(void *unused)
{
	unshare(CLONE_FS);
	stand();
	return unused;
}

static void *files_of_its_own(void *unused)
{
	unshare(CLONE_FILES);
	stand();
	return unused;
}

static void *securebits(void *unused)
{
	prctl(PR_SET_SECUREBITS, 1 << 5); /* SECBIT_KEEP_CAPS_LOCKED */
	stand();
	return unused;
}

/* Ended by the kernel as soon as it asks for its number. */
static void *killed(void *unused)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_gettid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	tid = syscall(SYS_gettid);
	syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
	sem_post(&ready);
	while (sem_wait(&over))
		;
	return unused;
}

/* glibc's own broadcast of ids to all threads, without pause; it changes nothing. */
static void *setxid(void *unused)
{
	tid = syscall(SYS_gettid);
	sem_post(&ready);
	for (;;)
		if (setresuid(-1, -1, -1))
			return unused;
}

/* The same, and it changes what it can, forth and back, until it is told to stop or may not any more. */
static void *ids(void *unused)
{
	static const gid_t group = 4;

	tid = syscall(SYS_gettid);
	sem_post(&ready);
	while (sem_trywait(&over)) {
		if (setgroups(1, &group) || setegid(8) || seteuid(8) || seteuid(0) || setegid(0) || setgroups(0, NULL))
			break;
		usleep(5000); /* as long as all of harden() takes */
	}
	return unused;
}

/* Like every thread that a filter refuses nothing of use to, and refused setgroups(2) by one more. */
static void *filtered(void *unused)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setgroups, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
	stand();
	return unused;
}

/* Forks without exec, and not by fork(3): each child has a copy of all descriptors, and ends with this thread, or at last
 * alone. */
static void *forking(void *unused)
{
	struct clone_args no_flags = {.exit_signal = 0};

	tid = syscall(SYS_gettid);
	sem_post(&ready);
	while (sem_trywait(&over)) {
		if (syscall(SYS_clone3, &no_flags, sizeof no_flags) == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			poll(NULL, 0, 60000);
			syscall(SYS_exit_group, 0);
		}
		usleep(5000);
	}
	return unused;
}

static _Atomic unsigned interruptions;

/* In a system call that no handler lets go on (signal(7)): how often a signal has come. */
static void *polling(void *unused)
{
	tid = syscall(SYS_gettid);
	sem_post(&ready);
	while (sem_trywait(&over))
		if (poll(NULL, 0, 100) < 0)
			interruptions++;
	return unused;
}

static napi_value interrupted(napi_env env, napi_callback_info info)
{
	napi_value result;

	(void)info;
	napi_create_uint32(env, interruptions, &result);
	return result;
}

static volatile unsigned churning;

/* A thread that is followed by another before it dies: births without pause, and who is missed has heirs. */
static void *churn(void *unused)
{
	pthread_attr_t detached;
	pthread_t heir;

	if (!churning++) {
		tid = syscall(SYS_gettid);
		sem_post(&ready);
	}
	usleep(50);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	while (pthread_create(&heir, &detached, churn, NULL))
		;
	usleep(2000);
	return unused;
}

static _Atomic bool sharing;

/* System calls that succeed: it has the thread-local storage of the thread that made it. */
static int share(void *unused)
{
	(void)unused;
	for (int waited = 0; sharing && waited < 6000; waited++) {
		struct timespec moment = { .tv_nsec = 10000000 };

		/* not SYS_poll, which arm64 has not */
		syscall(SYS_ppoll, NULL, 0, &moment, NULL, 0);
	}
	return 0;
}

/* A process that shares the memory and is none of the threads; its number. With CLONE_PARENT it is not even a child. */
static napi_value start_sharing(napi_env env, napi_callback_info info)
{
	static char stack[65536] __attribute__((aligned(16)));
	size_t count = 1;
	napi_value argument, result;
	bool sibling;

	napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
	napi_get_value_bool(env, argument, &sibling);
	sharing = true;
	napi_create_int32(env, clone(share, stack + sizeof stack, CLONE_VM | (sibling ? CLONE_PARENT : SIGCHLD), NULL), &result);
	return result;
}

static napi_value stop_sharing(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	sharing = false;
	return NULL;
}

/* An io_uring with a thread of the kernel; its descriptor. */
static napi_value open_poller(napi_env env, napi_callback_info info)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SQPOLL};
	napi_value result;

	(void)info;
	napi_create_int32(env, syscall(SYS_io_uring_setup, 8, &params), &result);
	return result;
}

static napi_value start(napi_env env, napi_callback_info info)
{
	void *(*kind)(void *);
	napi_value result;

	napi_get_cb_info(env, info, NULL, NULL, NULL, (void **)&kind);
	sem_init(&ready, 0, 0);
	sem_init(&over, 0, 0);
	pthread_create(&thread, NULL, kind, NULL);
	while (sem_wait(&ready))
		;
	napi_create_int32(env, tid, &result);
	return result;
}

static napi_value stop(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	sem_post(&over);
	pthread_join(thread, NULL);
	return NULL;
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback call;
		void *(*kind)(void *);
	} all[] = {
		{"startBlocked", start, blocked},
		{"startOther", start, other},
		{"startLess", start, less},
		{"loseRawHere", lose_raw_here, NULL},
		{"startMixed", start, mixed},
		{"startSecurebits", start, securebits},
		{"startKilled", start, killed},
		{"startSetxid", start, setxid},
		{"startIds", start, ids},
		{"startFs", start, fs_of_its_own},
		{"startFiles", start, files_of_its_own},
		{"startFiltered", start, filtered},
		{"startForking", start, forking},
		{"startPolling", start, polling},
		{"interrupted", interrupted, NULL},
		{"startChurn", start, churn},
		{"startSharing", start_sharing, NULL},
		{"stopSharing", stop_sharing, NULL},
		{"openPoller", open_poller, NULL},
		{"stop", stop, NULL},
	};

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		napi_value function;
		napi_create_function(env, all[i].name, NAPI_AUTO_LENGTH, all[i].call, (void *)all[i].kind, &function);
		napi_set_named_property(env, exports, all[i].name, function);
	}
	return exports;
}
