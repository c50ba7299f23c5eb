/*
 * filters.c - a seccomp filter that a running Node process installs for itself, or for one of its threads (seccomp(2))
 *
 * Plain N-API; compiled by the test that uses it. Late, because Node could not start under most of these.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <node_api.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What becomes of which call: the action of seccomp(2) for `number`, only with this first argument unless it is -1. */
struct rule {
	int64_t number, argument, action;
};

static sem_t ready;
static int answer;

static int put_on(const struct rule *rule, unsigned flags)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->argument, 0, rule->argument < 0 ? 0 : 1),
		BPF_STMT(BPF_RET | BPF_K, rule->action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	/* root needs no PR_SET_NO_NEW_PRIVS for it */
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) ? -1 : 0;
}

static void *stand(void *rule)
{
	int tid = syscall(SYS_gettid);

	answer = put_on(rule, 0) ? -1 : tid;
	sem_post(&ready);
	for (;;)
		pause();
	return NULL;
}

static napi_value answered(napi_env env, int number)
{
	napi_value result;

	napi_create_int32(env, number, &result);
	return result;
}

static struct rule asked(napi_env env, napi_callback_info info)
{
	int64_t numbers[3] = {-1, -1, -1};
	napi_value words[3];
	size_t count = 3;

	napi_get_cb_info(env, info, &count, words, NULL, NULL);
	for (size_t i = 0; i < 3; i++)
		napi_get_value_int64(env, words[i], &numbers[i]);
	return (struct rule){numbers[0], numbers[1], numbers[2]};
}

/* Each takes the three numbers of a rule; the thread that the filter is on, or -1. */
static napi_value every_thread(napi_env env, napi_callback_info info)
{
	struct rule rule = asked(env, info);
	int tid = syscall(SYS_gettid);

	return answered(env, put_on(&rule, SECCOMP_FILTER_FLAG_TSYNC) ? -1 : tid);
}

static napi_value this_thread(napi_env env, napi_callback_info info)
{
	struct rule rule = asked(env, info);
	int tid = syscall(SYS_gettid);

	return answered(env, put_on(&rule, 0) ? -1 : tid);
}

static napi_value new_thread(napi_env env, napi_callback_info info)
{
	struct rule rule = asked(env, info);
	pthread_t thread;

	sem_init(&ready, 0, 0);
	pthread_create(&thread, NULL, stand, &rule);
	while (sem_wait(&ready))
		;
	return answered(env, answer);
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback call;
	} all[] = {{"everyThread", every_thread}, {"thisThread", this_thread}, {"newThread", new_thread}};

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		napi_value function;

		napi_create_function(env, all[i].name, NAPI_AUTO_LENGTH, all[i].call, NULL, &function);
		napi_set_named_property(env, exports, all[i].name, function);
	}
	return exports;
}
