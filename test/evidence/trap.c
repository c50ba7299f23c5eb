/*
 * trap.c - for LD_PRELOAD: while the threads are parked, and in the rehearsing child, malloc() and the like end the process
 *
 * Tells by the system calls of park.c and commit.c, which pass through here: from the first signal on for the thread
 * that sends it, from the first comparison of a parked thread on for every thread, until the signal is given back. In a
 * child of clone(2) it applies until the child ends.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PARK_SIGNAL = 33 };

static _Atomic enum { OPEN, FOR_ONE, FOR_ALL } trap;
static _Atomic long coordinator;

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

/* As the C library's syscall(2), without errno: -errno. */
static long raw(long number, const long a[6])
{
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return result;
}

static long own_id(void)
{
	return raw(SYS_gettid, (long[6]){0});
}

static void say(const char *text)
{
	raw(SYS_write, (long[6]){STDERR_FILENO, (long)text, (long)strlen(text)});
}

/* In one write(2): several threads come here at once. */
static void pass_or(const char *caught)
{
	if (trap == OPEN || (trap == FOR_ONE && coordinator != own_id()))
		return;
	say(caught);
	__builtin_trap(); /* its signal cannot be blocked */
}

#define pass(name) pass_or("trap: " name "\n")

long syscall(long number, ...)
{
	long a[6], result;
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_rt_tgsigqueueinfo && trap == OPEN) {
		coordinator = own_id();
		trap = FOR_ONE;
	} else if (number == SYS_kcmp && trap == FOR_ONE && coordinator == own_id()) {
		trap = FOR_ALL;
	} else if (number == SYS_rt_sigaction && a[0] == PARK_SIGNAL && a[1] && trap != OPEN && coordinator == own_id()) {
		if (trap == FOR_ALL)
			say("trap: it was set for all\n");
		trap = OPEN;
	}
	result = raw(number, a);
	if (number == SYS_clone && result == 0)
		trap = FOR_ALL;
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

void *malloc(size_t size)
{
	pass("malloc");
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	pass("calloc");
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	pass("realloc");
	return __libc_realloc(old, size);
}

void free(void *old)
{
	pass("free");
	__libc_free(old);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	pass("aligned_alloc");
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **to, size_t alignment, size_t size)
{
	pass("posix_memalign");
	*to = __libc_memalign(alignment, size);
	return *to ? 0 : ENOMEM;
}

#define FORWARD(name, type) \
	int name(type *lock) \
	{ \
		static int (*real)(type *); \
\
		pass(#name); \
		if (!real) \
			real = (int (*)(type *))dlsym(RTLD_NEXT, #name); \
		return real(lock); \
	}

FORWARD(pthread_mutex_lock, pthread_mutex_t)
FORWARD(pthread_rwlock_rdlock, pthread_rwlock_t)
FORWARD(pthread_rwlock_wrlock, pthread_rwlock_t)
FORWARD(fflush, FILE)
FORWARD(puts, const char)
