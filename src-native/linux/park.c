/*
 * park.c - park every thread of the process in a signal handler, have each apply the plan's steps, release all
 *
 * Why not one call after the other in all threads, as glibc and libpsx do: between two calls every thread would run
 * with credentials that are neither the old ones nor the new ones, a thread created in between would inherit them, and
 * a call that is refused in one thread alone would leave the threads different. Here no thread runs any other code
 * until all are done.
 *
 * The signal is 33, the only one that no thread of a Node process blocks (V8's threads block SIGUSR1, the inspector's
 * blocks everything else). glibc uses it to call setuid(3) in every thread. Both can share it: glibc's handler ignores
 * a signal whose si_code is not SI_TKILL, and the handler here hands SI_TKILL on. musl uses it to cancel threads, and
 * unblocks it in each new one; its handler does not examine the signal, only whether the thread was cancelled.
 *
 * All are parked when the kernel counts exactly as many tasks as are parked here: then no thread is left that could
 * create another. A thread that is about to exit may wait for a lock whose holder is parked already, so every wait is
 * bounded: all threads are released, and parking is tried again.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <linux/futex.h>
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
	QUIET_MS = 100,      /* a try ends after so long without another thread parked */
	ALL_TRIES_MS = 2000, /* and no other begins after this */
	APPLY_QUIET_MS = 10000,
	LEAVE_MS = 1000
};

enum order { STAY, APPLY, LEAVE };

/* Shared with the handler. The table stays mapped as long as any thread may read it: a thread that the signal reaches
 * late first counts itself in, then compares the generation on its signal with the present one. */
static _Atomic uint32_t generation; /* 0: no thread is to park */
static _Atomic uint32_t inside;     /* threads in the handler */
static _Atomic uint32_t order;
static _Atomic uint32_t done;       /* threads that have parked; later, that have applied the steps */
static _Atomic uint32_t awaited;    /* the thread that raises `done` to this wakes the coordinator */

/* One thread: the coordinator, or one that was sent the signal. */
struct thread_slot {
	pid_t tid;
	int call_error;      /* errno of sending it the signal; written by the coordinator alone */
	_Atomic bool parked; /* it is in the handler and has read its securebits */
	int64_t securebits;  /* -1: it could not read them */
	struct failure now;  /* the step under way */
	_Atomic bool applied;
};

static struct {
	int tasks;
	pid_t process;
	uint32_t generation;
	const struct plan *plan; /* from apply_in_every_thread() on */
	size_t size, capacity, count, last_found;
	struct thread_slot *slots; /* slots[0] is the coordinator's */
} table;

static struct kernel_sigaction foreign_action; /* what signal 33 did before */

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

/* /proc does not have them: each thread reads its own. */
static int64_t own_securebits(void)
{
	return syscall(SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0);
}

static void introduce(struct thread_slot *slot)
{
	slot->securebits = own_securebits();
	atomic_store(&slot->parked, true);
}

static void apply_here(struct thread_slot *slot)
{
	if (apply_steps(table.plan, &slot->now))
		return;
	slot->now.step = STEP_READ_BACK;
	slot->securebits = own_securebits();
	slot->now.error = slot->securebits < 0 ? errno : 0;
	atomic_store(&slot->applied, slot->securebits >= 0);
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

		/* Another process can queue any value: a slot is taken only by the thread that it is for, and only once. */
		atomic_fetch_add(&inside, 1);
		if (ticket >> 32 && ticket >> 32 == atomic_load(&generation) && index < table.capacity &&
		    table.slots[index].tid == this_thread() && !atomic_load(&table.slots[index].parked))
			park(&table.slots[index]);
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
	/* /proc lists tasks in a stable order: the slot is nearly always the next one. */
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
	uint32_t here;                    /* listed tasks that are parked, the coordinator among them */
	const struct thread_slot *absent; /* a listed task that is not parked */
};

/* For each_number(): send this task the signal if it has not been sent yet. */
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
		call_thread((size_t)(slot - table.slots)); /* RLIMIT_SIGPENDING was reached; others have taken theirs by now */
	}
	if (atomic_load(&slot->parked))
		roll->here++;
	else
		roll->absent = slot;
	return 0;
}

/* Wait until `done` is `wanted`, or until it has not grown for this long. */
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
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint32_t count_parked_threads(void)
{
	uint32_t parked = 0;

	for (size_t i = 0; i < table.count; i++)
		parked += atomic_load(&table.slots[i].parked);
	return parked;
}

/* 0: every task of the process is parked. 1: some are not. -1 with errno. */
static int gather(struct roll_call *roll, uint64_t deadline_us)
{
	for (unsigned quiet_ms = 0; quiet_ms < QUIET_MS && now_us() < deadline_us;) {
		/* The order matters: count the parked threads, let the kernel count the tasks, list them, count the parked
		 * again. Equal numbers alone do not suffice: a parked thread may be killed while a new one makes up the
		 * number. */
		uint32_t present = count_parked_threads();
		long tasks = count_tasks(table.tasks);
		int result;

		*roll = (struct roll_call){0};
		if (tasks < 0 || (result = each_number(table.tasks, call_task, roll)) < 0)
			return -1;
		if (result == ENOSPC)
			return 1;
		/* `done` too: a thread that adds to it later would count as one that has applied the steps. */
		if (tasks == (long)present && roll->here == present && atomic_load(&done) == present &&
		    count_parked_threads() == present)
			return 0;
		await((uint32_t)table.count, 1);
		quiet_ms = count_parked_threads() == present ? quiet_ms + 1 : 0;
	}
	return 1;
}

/* Room for half as many threads again as there are now; if that is not enough, the next try maps a larger table. */
static int map_table(long present, struct failure *why)
{
	if (present < 0) {
		*why = (struct failure){.step = STEP_PROC, .error = errno};
		return -1;
	}
	table.process = getpid();
	table.plan = NULL;
	table.count = table.last_found = 0;
	table.capacity = (size_t)(present + present / 2 + 16);
	table.size = table.capacity * sizeof *table.slots;
	table.slots = mmap(NULL, table.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table.slots == MAP_FAILED) {
		*why = (struct failure){.step = STEP_MEMORY, .error = errno};
		return -1;
	}
	return 0;
}

/* The coordinator takes slot 0; from the new generation on, other threads can park. */
static void open_table(void)
{
	static uint32_t serial;

	table.slots[0].tid = this_thread();
	introduce(&table.slots[0]);
	table.count = 1;
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
	/* Two calls: foreign_action must be set before the handler can run and hand a signal on. */
	if (!signal_action(PARK_SIGNAL, NULL, &foreign_action) && !signal_action(PARK_SIGNAL, &ours, &foreign_action))
		return 0;
	*why = (struct failure){.step = STEP_SIGNAL, .error = errno};
	return -1;
}

/* 0: done. 1: another handler was installed meanwhile, as musl does at the first pthread_cancel(3) of a process, and never
 * again: keep that one. */
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

	/* A failed try may leave our signal pending. glibc's handler ignores it, like all that is not SI_TKILL; the default
	 * action would end the process, so discard it. Not where there is a handler: SIG_IGN would also discard a signal
	 * that glibc may just have sent. */
	if (foreign_action.handler == SIG_DFL)
		result = replace_ours(&ignore);
	if (!result)
		result = replace_ours(&foreign_action);
	return result < 0 ? -1 : 0;
}

/* Between the order to leave and the end of the handler nothing can block: a thread that never leaves was killed there
 * by its own seccomp filter. */
static bool have_all_left(void)
{
	uint32_t still = 0;

	for (unsigned quiet_ms = 0; (still = atomic_load(&inside)) && quiet_ms < LEAVE_MS;)
		if (futex_wait(&inside, still, 10) && errno == ETIMEDOUT)
			quiet_ms += 10;
	return !still;
}

bool release_every_thread(void)
{
	bool all_left;

	atomic_store(&generation, 0);
	atomic_store(&order, LEAVE);
	futex_wake_all(&order);
	/* The table stays mapped while a thread may read it. */
	if ((all_left = have_all_left()))
		munmap(table.slots, table.size);
	return all_left;
}

int park_every_thread(int tasks, uint32_t *tries, struct failure *why)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t deadline_us = now_us() + ALL_TRIES_MS * UINT64_C(1000);

	table.tasks = tasks;
	*why = (struct failure){.step = STEP_PARK, .error = ETIMEDOUT};
	if (!have_all_left())
		return -1; /* a thread still in the handler since an earlier call would be counted in this one */
	for (*tries = 1; *tries <= TRIES && now_us() < deadline_us; ++*tries) {
		struct roll_call roll = {0};
		int result;

		if (map_table(count_tasks(tasks), why))
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
			return -1; /* a thread that is still there would be counted in the next try */
		nanosleep(&pause, NULL); /* a thread that waited for a lock of a parked one can go on */
	}
	return -1;
}

bool is_everyone_inside(void)
{
	return atomic_load(&inside) == count_parked_threads() - 1;
}

int64_t securebits_of(pid_t tid)
{
	const struct thread_slot *slot = slot_of(tid);

	return slot && atomic_load(&slot->parked) ? slot->securebits : -1;
}

int apply_in_every_thread(const struct plan *plan, struct failure *why)
{
	uint32_t parked = count_parked_threads();

	table.plan = plan;
	atomic_store(&done, 0);
	atomic_store(&order, APPLY);
	futex_wake_all(&order);
	apply_here(&table.slots[0]);
	/* No step can block, but a seccomp filter may kill one thread alone, which then never reports. The waits are short
	 * so that time in which the process was stopped does not count as silence. */
	for (int quiet_ms = 0; quiet_ms < APPLY_QUIET_MS && atomic_load(&done) < parked - 1; quiet_ms += 100)
		await(parked - 1, 100);

	for (size_t i = 0; i < table.count; i++)
		if (atomic_load(&table.slots[i].parked) && !atomic_load(&table.slots[i].applied)) {
			*why = table.slots[i].now;
			if (why->step == STEP_NONE)
				why->step = STEP_PARK; /* it has not begun */
			why->tid = table.slots[i].tid;
			return -1;
		}
	return 0;
}
