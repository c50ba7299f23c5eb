/*
 * shim.c - what Debian's libstdc++, made for glibc, wants beyond musl, so that a JavaScript run time made for Alpine
 * starts here. For the test alone.
 */
#define _GNU_SOURCE
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>

char __libc_single_threaded;

/* libgcc has its own, but hides them behind a symbol version, which musl passes over. */
int __cpu_model[4];
int __cpu_indicator_init(void)
{
	return 0;
}

/* Destructors of a thread's variables: not run. */
int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library)
{
	(void)destroy, (void)object, (void)library;
	return 0;
}

/* Not found: the unwinder asks dl_iterate_phdr(3) then. */
int _dl_find_object(void *address, void *result)
{
	(void)address, (void)result;
	return -1;
}

size_t __strftime_l(char *text, size_t size, const char *format, const struct tm *time, locale_t locale)
{
	return strftime_l(text, size, format, time, locale);
}

unsigned long __getauxval(unsigned long type)
{
	return getauxval(type);
}

unsigned arc4random(void)
{
	unsigned number = 0;

	return getrandom(&number, sizeof number, 0) == sizeof number ? number : 4;
}
