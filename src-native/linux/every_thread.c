/*
 * every_thread.c - stop every thread of the process in a signal handler, have each run the list, let them go
 *
 * Why not one call after the other in all threads, as glibc and libpsx do: between two calls every thread would run
 * with a credential that nobody asked for, a thread born in between would inherit it, and a refusal in the middle
 * could not be told from success elsewhere. Here no thread runs any other code until all are done.
 *
 * The signal is 33, for it alone is blocked in no thread of a Node process (V8's threads block SIGUSR1, the inspector's
 * blocks everything else). It is the one by which glibc broadcasts setuid(3); both can share it: glibc ignores what is
 * not SI_TKILL, and we hand on what is. musl cancels threads by it, and unblocks it in each new one; its handler asks
 * nothing of the signal, but of the thread whether it was cancelled.
 *
 * Everybody has come when the kernel counts no more tasks than stand here: then no one is left who could create
 * another. A thread that is on its way out may wait for a lock whose holder stands here already, so nobody is waited
 * for without a bound: all are released and it is tried again.
 */
#define _GNU_SOURCE
#include "core.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	PARK_SIGNAL = 33,
	TRIES = 10,
	QUIET_MS = 100,      /* a try is given up after so long without anybody new */
	ALL_TRIES_MS = 2000, /* and no other is begun after this */
	APPLY_QUIET_MS = 10000,
	LEAVE_MS = 1000
};

enum order { STAY, APPLY, LEAVE };

enum { ANYBODY = UINT32_MAX }; /* instead of the index of a slot */

/* What the threads meet when the signal reaches them. The table lives as long as any thread may look at it: a late
 * one counts itself in, then looks whether the generation on its signal is still the present one. */
static _Atomic uint32_t generation; /* 0: nobody is called */
static _Atomic uint32_t inside;     /* threads in the handler */
static _Atomic uint32_t order;
static _Atomic uint32_t done;       /* how many have parked, later how many have applied the list */
static _Atomic uint32_t awaited;    /* whoever makes `done` this many wakes the coordinator */
static _Atomic uint32_t taken;      /* slots, where threads are called without their numbers */

/* What is known of one thread. */
struct thread_slot {
	pid_t tid;
	int call_error;          /* errno of the signal to it; the coordinator's to write */
	_Atomic bool parked;     /* it stands in the handler and has said who it is */
	int error;               /* errno, if it could not say */
	struct credentials *own; /* who it is */
	struct failure now;      /* the step under way */
	uint32_t securebits;     /* afterwards */
	_Atomic bool applied;    /* it has done all of the list */
	struct self_report self; /* where there is no plan, */
	char *path;              /* and room to find it out: the handler's stack may be small */
};

static struct {
	const struct plan *plan; /* NULL: they are only asked */
	int tasks;
	pid_t process;
	uint32_t generation;
	void *memory;
	size_t size, capacity, count, last_found;
	size_t room;               /* groups in a slot's credentials */
	struct thread_slot *slots; /* slots[0] is the coordinator's */
} table;

static struct kernel_sigaction foreign_action; /* what signal 33 did before */

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

void lock_threads(void)
{
	pthread_mutex_lock(&turn);
}

void unlock_threads(void)
{
	pthread_mutex_unlock(&turn);
}

static long futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned milliseconds)
{
	struct timespec limit = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};

	return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, milliseconds ? &limit : NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* ---- in the handler, on every thread but the coordinator ---- */

static void count_me(void)
{
	if (atomic_fetch_add(&done, 1) + 1 == atomic_load(&awaited))
		futex_wake_all(&done);
}

static void stay_while(enum order present)
{
	while (atomic_load(&order) == present)
		futex_wait(&order, present, 0);
}

static void apply_here(struct thread_slot *slot)
{
	long securebits;

	if (apply_steps(table.plan, &slot->now))
		return;
	slot->now.step = STEP_READ_BACK;
	securebits = syscall(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);
	slot->now.error = securebits < 0 ? errno : 0;
	slot->securebits = (uint32_t)securebits;
	atomic_store(&slot->applied, securebits >= 0);
}

static void introduce(struct thread_slot *slot)
{
	slot->error = observe_this_thread(slot->own, table.room, table.plan ? table.plan->bounding_drop : 0) ||
	                              (!table.plan && describe_this_thread(&slot->self, slot->path))
	                      ? errno
	                      : 0;
	atomic_store(&slot->parked, true);
}

static void park(struct thread_slot *slot)
{
	introduce(slot);
	count_me();
	stay_while(STAY);
	if (atomic_load(&order) == APPLY) {
		apply_here(slot);
		count_me();
		stay_while(APPLY);
	}
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	if (info->si_code == SI_QUEUE) {
		uint64_t ticket = (uintptr_t)info->si_value.sival_ptr; /* generation, index of the slot */
		size_t index = (uint32_t)ticket;

		/* Another process may send anything: only the thread that a slot is for, and only once, takes it. */
		atomic_fetch_add(&inside, 1);
		if (ticket >> 32 && ticket >> 32 == atomic_load(&generation)) {
			if (index == ANYBODY && (index = atomic_fetch_add(&taken, 1)) < table.capacity)
				table.slots[index].tid = this_thread();
			if (index < table.capacity && table.slots[index].tid == this_thread() &&
			    !atomic_load(&table.slots[index].parked))
				park(&table.slots[index]);
		}
		if (atomic_fetch_sub(&inside, 1) == 1)
			futex_wake_all(&inside);
	} else if (info->si_code == SI_TKILL && foreign_action.handler != SIG_DFL && foreign_action.handler != SIG_IGN) {
		((void (*)(int, siginfo_t *, void *))(uintptr_t)foreign_action.handler)(signo, info, context);
	}
	errno = saved_errno;
}

/* ---- on the coordinator ---- */

static void call_thread(size_t index)
{
	struct thread_slot *slot = &table.slots[index];
	siginfo_t info;

	memset(&info, 0, sizeof info);
	info.si_signo = PARK_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = table.process;
	info.si_value.sival_ptr = (void *)(uintptr_t)((uint64_t)table.generation << 32 | index);
	slot->call_error =
		syscall(SYS_rt_tgsigqueueinfo, table.process, slot->tid, PARK_SIGNAL, &info) ? errno : 0;
}

static struct thread_slot *slot_of(pid_t tid)
{
	/* The listing keeps its order: the one looked for is nearly always the next. */
	for (size_t tried = 0; tried < table.count; tried++) {
		size_t index = (table.last_found + 1 + tried) % table.count;

		if (table.slots[index].tid == tid) {
			table.last_found = index;
			return &table.slots[index];
		}
	}
	return NULL;
}

struct roll_call {
	uint32_t here;                    /* tasks listed that stand parked, the coordinator among them */
	const struct thread_slot *absent; /* one that is listed and does not */
};

/* each_number(): see that this task is called. */
static int call_task(pid_t tid, void *context)
{
	struct roll_call *roll = context;
	struct thread_slot *slot = slot_of(tid);

	if (!slot) {
		if (table.count == table.capacity)
			return ENOSPC; /* the next try has a larger table */
		slot = &table.slots[table.count];
		slot->tid = tid;
		call_thread(table.count++);
	} else if (slot->call_error == EAGAIN) {
		call_thread(slot - table.slots); /* RLIMIT_SIGPENDING was reached; by now others have taken theirs */
	}
	if (atomic_load(&slot->parked))
		roll->here++;
	else
		roll->absent = slot;
	return 0;
}

/* Wait until `done` is `wanted`; no longer than this without any progress. */
static void await(uint32_t wanted, unsigned quiet_ms)
{
	uint32_t seen;

	atomic_store(&awaited, wanted);
	while ((seen = atomic_load(&done)) < wanted)
		if (futex_wait(&done, seen, quiet_ms) && errno == ETIMEDOUT && atomic_load(&done) == seen)
			return;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* 0: every task of the process stands parked. 1: not all of them came. -1: errno. */
static int gather(struct roll_call *roll, uint64_t deadline_us)
{
	for (unsigned quiet_ms = 0; quiet_ms < QUIET_MS && now_us() < deadline_us;) {
		/* In this order: who is counted here was parked before the kernel is asked how many there are. */
		uint32_t present = atomic_load(&done);
		int result;

		*roll = (struct roll_call){0};
		if ((result = each_number(table.tasks, call_task, roll)))
			return result == ENOSPC ? 1 : -1;
		/* Both: one that stood here may have died since, with a newborn to make up the number. */
		if (roll->here == present && count_tasks(table.tasks) == (long)present)
			return 0;
		await(table.count, 1);
		quiet_ms = atomic_load(&done) == present ? quiet_ms + 1 : 0;
	}
	return 1;
}

/* Sized by what there is now; a try that meets more threads than fit is followed by one with a larger table. */
static int map_table(long present, size_t room, struct failure *why)
{
	size_t path_size = table.plan ? 0 : PATH_MAX;
	size_t own_size = credentials_size(room) + path_size;

	if (present < 0) {
		*why = (struct failure){.step = STEP_PROC, .error = errno};
		return -1;
	}
	table.process = getpid();
	table.room = room;
	table.count = table.last_found = 0;
	table.capacity = present + present / 2 + 16;
	table.size = table.capacity * (sizeof *table.slots + own_size);
	table.memory = mmap(NULL, table.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table.memory == MAP_FAILED) {
		*why = (struct failure){.step = STEP_TABLE, .error = errno};
		return -1;
	}
	table.slots = table.memory;
	for (size_t i = 0; i < table.capacity; i++) {
		table.slots[i].path = (char *)(table.slots + table.capacity) + i * own_size;
		table.slots[i].own = (void *)(table.slots[i].path + path_size);
	}
	return 0;
}

/* The coordinator stands in slot 0; the others may come. */
static void open_table(void)
{
	static uint32_t serial;
	struct thread_slot *own = &table.slots[0];

	own->tid = this_thread();
	introduce(own);
	table.count = 1;
	/* Where each is called by his number, none is for anybody. */
	atomic_store(&taken, table.plan ? table.capacity : 1);
	atomic_store(&done, 1);
	atomic_store(&order, STAY);
	table.generation = ++serial;
	atomic_store(&generation, table.generation);
}

int take_park_signal(struct failure *why)
{
	struct kernel_sigaction ours = {
		.handler = (void (*)(int))(uintptr_t)on_signal,
		.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART,
		.mask = ~UINT64_C(0), /* no other handler runs on a parked thread */
	};

#ifdef __x86_64__
	ours.flags |= 0x04000000; /* SA_RESTORER, which no user-space header defines */
	ours.restorer = return_from_signal;
#endif
	/* Two calls, for the handler must not run before it is known whom to hand on to. */
	if (!signal_action(PARK_SIGNAL, NULL, &foreign_action) && !signal_action(PARK_SIGNAL, &ours, &foreign_action))
		return 0;
	*why = (struct failure){.step = STEP_SIGNAL, .error = errno};
	return -1;
}

/* 0: done. 1: somebody has set his own meanwhile, as musl does at the first pthread_cancel(3) of a process, and never again:
 * that one stays. */
static int replace_ours(const struct kernel_sigaction *action)
{
	struct kernel_sigaction replaced;

	if (signal_action(PARK_SIGNAL, action, &replaced))
		return -1;
	if (replaced.handler == (void (*)(int))(uintptr_t)on_signal || replaced.handler == SIG_IGN)
		return 0;
	return signal_action(PARK_SIGNAL, &replaced, NULL) ? -1 : 1;
}

int give_park_signal_back(void)
{
	const struct kernel_sigaction ignore = {.handler = SIG_IGN};
	int result = 0;

	/* One of ours may be pending still, after a try that failed. glibc's handler disregards it, as it does all that is
	 * not SI_TKILL; the default action would end the process, so throw it away first. Not where there is a handler: that
	 * would also take from glibc what it may just have sent. */
	if (foreign_action.handler == SIG_DFL)
		result = replace_ours(&ignore);
	if (!result)
		result = replace_ours(&foreign_action);
	return result < 0 ? -1 : 0;
}

/* All go on; false: not all of them have been seen to, and the table has to stay. */
static bool let_go(void)
{
	uint32_t still = 0;

	atomic_store(&generation, 0);
	atomic_store(&order, LEAVE);
	futex_wake_all(&order);
	/* Nobody may look at the table any more when it goes. Between the order and the end of the handler nothing can
	 * block; who never leaves was ended there by a seccomp filter of its own, and the table stays. */
	for (unsigned quiet_ms = 0; (still = atomic_load(&inside)) && quiet_ms < LEAVE_MS;)
		if (futex_wait(&inside, still, 10) && errno == ETIMEDOUT)
			quiet_ms += 10;
	return !still;
}

bool release_every_thread(void)
{
	bool all_left = let_go();

	if (all_left)
		munmap(table.memory, table.size);
	return all_left;
}

int park_every_thread(const struct plan *plan, int tasks, struct failure *why)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t deadline_us = now_us() + ALL_TRIES_MS * UINT64_C(1000);

	table.plan = plan;
	table.tasks = tasks;
	*why = (struct failure){.step = STEP_PARK, .error = ETIMEDOUT};
	for (int tries = 0; tries < TRIES && now_us() < deadline_us; tries++) {
		struct roll_call roll = {0};
		int result;

		if (map_table(count_tasks(tasks), plan->before->group_count, why))
			return -1;
		open_table();
		if (!(result = gather(&roll, deadline_us)))
			return 0;
		if (result < 0)
			why->error = errno;
		else if (roll.absent) {
			why->tid = roll.absent->tid;
			why->error = roll.absent->call_error ? roll.absent->call_error : ETIMEDOUT;
		}
		if (!release_every_thread())
			return -1; /* who still stands there would take the next try for his own */
		nanosleep(&pause, NULL); /* whoever waited for a lock of a parked thread gets on now */
	}
	return -1;
}

uint32_t count_parked_threads(void)
{
	uint32_t parked = 0;

	for (size_t i = 0; i < table.count; i++)
		parked += atomic_load(&table.slots[i].parked);
	return parked;
}

/* Unless a thread has unshared it (unshare(2), CLONE_FS). Where kcmp(2) is not to be had, in a container for one, the answer
 * is not known yet: each thread's root is read back later. */
static bool has_own_root(pid_t tid)
{
	return syscall(SYS_kcmp, table.slots[0].tid, tid, KCMP_FS, 0, 0) > 0;
}

/* A table of its own (unshare(2), CLONE_FILES) would keep open what nobody has looked at. Without kcmp(2): it does not have
 * the descriptor that was opened for this very commit. */
static bool has_own_files(pid_t tid)
{
	long differ = syscall(SYS_kcmp, table.slots[0].tid, tid, KCMP_FILES, 0, 0);

	return differ < 0 ? !has_descriptor(table.tasks, tid, table.tasks) : differ > 0;
}

int compare_every_thread(struct failure *why)
{
	const struct credentials *before = table.plan->before;
	bool chroot = table.plan->steps & (1u << STEP_CHROOT);

	/* A thread that a seccomp filter of its own has ended in the handler never leaves it. */
	if (atomic_load(&inside) != count_parked_threads() - 1) {
		*why = (struct failure){.step = STEP_PARK, .error = ETIMEDOUT};
		return -1;
	}
	for (size_t i = 0; i < table.count; i++) {
		const struct thread_slot *slot = &table.slots[i];

		if (!atomic_load(&slot->parked))
			continue; /* has exited after it was listed */
		if (slot->error || slot->own->group_count != before->group_count ||
		    memcmp(slot->own, before, sizeof *before + before->group_count * sizeof(gid_t))) {
			*why = (struct failure){.step = STEP_COMPARE, .error = slot->error, .tid = slot->tid};
			return -1;
		}
		if ((chroot && has_own_root(slot->tid)) || has_own_files(slot->tid)) {
			*why = (struct failure){.step = STEP_SHARED, .tid = slot->tid};
			return -1;
		}
	}
	return 0;
}

int apply_in_every_thread(struct failure *why)
{
	uint32_t parked = count_parked_threads();

	atomic_store(&done, 0);
	atomic_store(&order, APPLY);
	futex_wake_all(&order);
	apply_here(&table.slots[0]);
	/* Nothing in the list can block, but a seccomp filter may kill one thread alone: that one never reports. Short
	 * waits: a process that was stopped meanwhile must not take the time of that for silence. */
	for (int quiet_ms = 0; quiet_ms < APPLY_QUIET_MS && atomic_load(&done) < parked - 1; quiet_ms += 100)
		await(parked - 1, 100);

	for (size_t i = 0; i < table.count; i++)
		if (atomic_load(&table.slots[i].parked) && !table.slots[i].applied) {
			*why = table.slots[i].now;
			if (why->step == STEP_NONE)
				why->step = STEP_PARK; /* it has not even begun */
			why->tid = table.slots[i].tid;
			return -1;
		}
	return 0;
}

uint32_t securebits_of(pid_t tid)
{
	const struct thread_slot *slot = slot_of(tid);

	return slot ? slot->securebits : UINT32_MAX;
}

/* ---- where there is no /proc: nobody is known by his number, so anybody is called until all have come ---- */

/* A signal to the process is given to a thread that does not block it, so to one that does not stand here yet (signal(7)). */
static int call_anybody(void)
{
	siginfo_t info;

	memset(&info, 0, sizeof info);
	info.si_signo = PARK_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = table.process;
	info.si_value.sival_ptr = (void *)(uintptr_t)((uint64_t)table.generation << 32 | ANYBODY);
	return (int)syscall(SYS_rt_sigqueueinfo, table.process, PARK_SIGNAL, &info);
}

/* 0: as many stand parked as the kernel counts. 1: not all of them came. -1: errno. */
static int gather_anybody(int stat, uint64_t deadline_us)
{
	for (unsigned quiet_ms = 0; quiet_ms < QUIET_MS && now_us() < deadline_us;) {
		uint32_t present = atomic_load(&done);
		long threads = count_threads(stat);

		if (threads < 0)
			return -1;
		if (threads == (long)present)
			return 0;
		if (threads > (long)table.capacity)
			return 1; /* the next try has a larger table */
		for (long called = present; called < threads; called++)
			if (call_anybody() && errno != EAGAIN)
				return -1;
		await((uint32_t)threads, 1);
		quiet_ms = atomic_load(&done) == present ? quiet_ms + 1 : 0;
	}
	return 1;
}

/* 0: each has said who it is. Else errno. *most: the most groups that any has; beyond the room they were only counted. */
static int look_through(size_t *most)
{
	int error = 0;

	for (size_t i = 0; i < table.count; i++) {
		if (table.slots[i].error)
			error = table.slots[i].error;
		else if (table.slots[i].own->group_count > *most)
			*most = table.slots[i].own->group_count;
	}
	return error;
}

/* *borrowed: whether signal 33 is still ours. */
static int ask_parked(int stat, struct failure *why, bool *borrowed)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t deadline_us = now_us() + ALL_TRIES_MS * UINT64_C(1000);
	size_t room = 32;

	table.plan = NULL;
	*why = (struct failure){.step = STEP_PARK, .error = ETIMEDOUT};
	for (int tries = 0; tries < TRIES && now_us() < deadline_us; tries++) {
		size_t most = room;
		int result;

		if (map_table(count_threads(stat), room, why))
			return -1;
		open_table();
		if ((result = gather_anybody(stat, deadline_us)) < 0)
			why->error = errno;
		table.count = atomic_load(&done);
		if (!result && (result = look_through(&most)))
			why->error = result;
		if (!result && most <= room) {
			/* As in commit(): while all stand here still. */
			if (give_park_signal_back())
				end_here(STEP_SIGNAL);
			*borrowed = false;
			return let_go() ? 0 : -1;
		}
		room = most;
		if (!release_every_thread())
			return -1;
		nanosleep(&pause, NULL);
	}
	return -1;
}

int ask_every_thread(int stat, struct failure *why)
{
	uint64_t mask;
	bool borrowed;
	int result = -1;

	lock_threads();
	if (block_signals(&mask)) {
		*why = (struct failure){.step = STEP_MASK, .error = errno};
		unlock_threads();
		return -1;
	}
	if ((borrowed = !take_park_signal(why)))
		result = ask_parked(stat, why, &borrowed);
	if (borrowed && give_park_signal_back())
		end_here(STEP_SIGNAL);
	if (restore_signals(mask))
		end_here(STEP_MASK);
	if (result)
		unlock_threads();
	return result;
}

const struct self_report *asked_thread(size_t i)
{
	if (i >= table.count)
		return NULL;
	table.slots[i].self.tid = table.slots[i].tid;
	table.slots[i].self.own = table.slots[i].own;
	return &table.slots[i].self;
}

void forget_threads(void)
{
	munmap(table.memory, table.size);
	unlock_threads();
}
