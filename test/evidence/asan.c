/*
 * asan.c - the settings of AddressSanitizer, in a Node process (REPORTS: where it writes to) and in a program
 *
 * __asan_handle_no_return(): it takes a stack that a process was given by clone(2) for one that is 700 GB long, and warns. What does
 * not return here ends its process, so there is nothing to be done to any stack.
 * verify_asan_link_order: this library comes before the sanitizer's own, so that the sanitizer asks it.
 * use_sigaltstack: handlers run where they do without it.
 * detect_stack_use_after_return: what is on the stack of a handler stays there: for the other way there is an allocator.
 * detect_leaks: Node does not free at its end what the system takes back; a test that wants it says so.
 */
void __asan_handle_no_return(void);
void __asan_handle_no_return(void)
{
}

#ifdef REPORTS
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "verify_asan_link_order=0:use_sigaltstack=0:detect_stack_use_after_return=0:detect_leaks=0:log_path=" REPORTS;
}
#endif
