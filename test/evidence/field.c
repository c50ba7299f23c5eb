/*
 * field.c - how other programs give up root, and what an intruder then tries: for the tests of
 * test/evidence/field.test.ts
 *
 * Plain N-API. Each function returns 0, or the errno of what failed; those that end in _here change the calling thread alone,
 * as the system calls do when no C library spreads them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <node_api.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ARGUMENTS = 3, PATH_SIZE = 4096 };

static void read_numbers(napi_env env, napi_callback_info info, int64_t numbers[ARGUMENTS])
{
	napi_value values[ARGUMENTS];
	size_t count = ARGUMENTS;

	napi_get_cb_info(env, info, &count, values, NULL, NULL);
	for (size_t i = 0; i < ARGUMENTS; i++)
		if (i >= count || napi_get_value_int64(env, values[i], &numbers[i]) != napi_ok)
			numbers[i] = 0;
}

static napi_value number(napi_env env, long result)
{
	napi_value value;

	napi_create_int64(env, result, &value);
	return value;
}

static napi_value outcome(napi_env env, long result)
{
	return number(env, result < 0 ? errno : 0);
}

/* (real, effective, saved): sets the ids of all threads, by the C library */
static napi_value set_users(napi_env env, napi_callback_info info)
{
	int64_t ids[ARGUMENTS];

	read_numbers(env, info, ids);
	return outcome(env, setresuid((uid_t)ids[0], (uid_t)ids[1], (uid_t)ids[2]));
}

static long capset_here(uint64_t mask)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)mask, (uint32_t)mask, 0},
		{mask >> 32, mask >> 32, 0},
	};

	return syscall(SYS_capset, &header, data);
}

/* (user, group, capabilities): all that must be done, in the right order */
static napi_value drop_here(napi_env env, napi_callback_info info)
{
	int64_t to[ARGUMENTS];

	read_numbers(env, info, to);
	return outcome(env, syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, to[1], to[1], to[1]) ||
	                                    prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) ||
	                                    syscall(SYS_setresuid, to[0], to[0], to[0]) ||
	                                    capset_here((uint64_t)to[2]) || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) ||
	                                    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	                            ? -1
	                            : 0);
}

/* (capabilities) */
static napi_value limit_here(napi_env env, napi_callback_info info)
{
	int64_t to[ARGUMENTS];

	read_numbers(env, info, to);
	return outcome(env, capset_here((uint64_t)to[0]));
}

static const char *read_path(napi_env env, napi_callback_info info, size_t index, char path[PATH_SIZE])
{
	napi_value values[2];
	size_t count = 2, length = 0;

	napi_get_cb_info(env, info, &count, values, NULL, NULL);
	napi_get_value_string_utf8(env, values[index], path, PATH_SIZE, &length);
	return path;
}

/* (path): chroot(2) without chdir(2) */
static napi_value change_root(napi_env env, napi_callback_info info)
{
	char path[PATH_SIZE];

	return outcome(env, chroot(read_path(env, info, 0, path)));
}

/* (path): a handle on it; returns the descriptor */
static napi_value open_handle(napi_env env, napi_callback_info info)
{
	char path[PATH_SIZE];

	return number(env, open(read_path(env, info, 0, path), O_PATH | O_CLOEXEC));
}

/* (descriptor, path): can the file be opened from there? */
static napi_value open_from(napi_env env, napi_callback_info info)
{
	int64_t from[ARGUMENTS];
	char path[PATH_SIZE];
	int file;

	read_numbers(env, info, from);
	file = openat((int)from[0], read_path(env, info, 1, path), O_RDONLY | O_CLOEXEC);
	return outcome(env, file < 0 ? -1 : close(file));
}

/* Types a letter as if the user of the terminal had (TIOCSTI(2const)). */
static napi_value type_letter(napi_env env, napi_callback_info info)
{
	int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);

	(void)info;
	return outcome(env, terminal < 0 ? -1 : ioctl(terminal, TIOCSTI, "x"));
}

/* A descriptor that stays open here would hide that the process at its other end has ended. */
static void close_all(void)
{
	for (int descriptor = 0; descriptor < 1024; descriptor++)
		close(descriptor);
}

static int stay(void *unused)
{
	(void)unused;
	close_all();
	for (;;)
		pause();
	return 0;
}

/* A separate process on this memory; returns its number. */
static napi_value share_memory(napi_env env, napi_callback_info info)
{
	static char stack[16384] __attribute__((aligned(16)));

	(void)info;
	return number(env, clone(stay, stack + sizeof stack, CLONE_VM, NULL));
}

static int leave_a_thread(void *unused)
{
	static char stack[16384] __attribute__((aligned(16)));

	close_all();
	clone(stay, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, unused);
	syscall(SYS_exit, 0);
	return 0;
}

/* The same, and its main thread ends: /proc shows a zombie without memory. */
static napi_value share_memory_headless(napi_env env, napi_callback_info info)
{
	static char stack[16384] __attribute__((aligned(16)));

	(void)info;
	return number(env, clone(leave_a_thread, stack + sizeof stack, CLONE_VM, NULL));
}

/* So that the size of the memory tells nothing. */
static void *map_and_unmap(void *unused)
{
	const struct timespec pause = {.tv_nsec = 200000};
	const size_t size = 1 << 20;

	for (;;) {
		void *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		nanosleep(&pause, NULL);
		if (memory != MAP_FAILED)
			munmap(memory, size);
		nanosleep(&pause, NULL);
	}
	return unused;
}

static int map_for_ever(void *unused)
{
	close_all();
	map_and_unmap(unused);
	return 0;
}

/* The same, but not a child; and both processes map and unmap. */
static napi_value share_memory_aside(napi_env env, napi_callback_info info)
{
	static char stack[16384] __attribute__((aligned(16)));
	pthread_t thread;

	(void)info;
	if (pthread_create(&thread, NULL, map_and_unmap, NULL))
		return number(env, -1);
	return number(env, clone(map_for_ever, stack + sizeof stack, CLONE_VM | CLONE_PARENT, NULL));
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback call;
	} all[] = {
		{"setUsers", set_users},     {"dropHere", drop_here}, {"limitHere", limit_here}, {"changeRoot", change_root},
		{"openHandle", open_handle}, {"openFrom", open_from}, {"typeLetter", type_letter},
		{"shareMemory", share_memory}, {"shareMemoryAside", share_memory_aside},
		{"shareMemoryHeadless", share_memory_headless},
	};

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		napi_value function;
		napi_create_function(env, all[i].name, NAPI_AUTO_LENGTH, all[i].call, NULL, &function);
		napi_set_named_property(env, exports, all[i].name, function);
	}
	return exports;
}
