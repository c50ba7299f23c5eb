/*
 * asan.c - how AddressSanitizer has to behave in a Node process, whatever the environment says
 *
 * verify_asan_link_order: this library comes before the sanitizer's own, so that the sanitizer asks it.
 * use_sigaltstack: handlers run where they do without it.
 * detect_stack_use_after_return: what is on the stack of a handler stays there: for the other way there is an allocator.
 * detect_leaks: Node does not free at its end what the system takes back; a test that wants it says so.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "verify_asan_link_order=0:use_sigaltstack=0:detect_stack_use_after_return=0:detect_leaks=0:log_path=" REPORTS;
}
