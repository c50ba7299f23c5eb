/*
 * oracle.c - what the installed libcap makes of texts
 *
 * Reads texts from standard input, each with a NUL after it; writes a line for each: EINVAL, or the three sets in
 * hexadecimal as cap_get_flag(3) gives them bit by bit, and the text that cap_to_text(3) makes of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>

static uint64_t set_of(cap_t sets, cap_flag_t flag)
{
	uint64_t set = 0;

	for (cap_value_t capability = 0; capability < 64; capability++) {
		cap_flag_value_t value;

		if (!cap_get_flag(sets, capability, flag, &value) && value == CAP_SET)
			set |= UINT64_C(1) << capability;
	}
	return set;
}

static void tell(cap_t sets)
{
	char *text = cap_to_text(sets, NULL);

	if (!text)
		exit(1);
	printf("%" PRIx64 " %" PRIx64 " %" PRIx64 " %s\n", set_of(sets, CAP_PERMITTED), set_of(sets, CAP_EFFECTIVE),
	       set_of(sets, CAP_INHERITABLE), text);
	cap_free(text);
}

int main(void)
{
	char *text = NULL;
	size_t size = 0;

	while (getdelim(&text, &size, '\0', stdin) > 0) {
		cap_t sets = cap_from_text(text);

		if (sets) {
			tell(sets);
			cap_free(sets);
		} else if (errno == EINVAL) {
			puts("EINVAL");
		} else {
			return 1;
		}
	}
	free(text);
	return ferror(stdin) || fflush(stdout) != 0;
}
