/*
 * captext.c - the text of cap_from_text(3) to masks, by libcap itself
 *
 * libcap is linked statically and its symbols are hidden: the texts that it accepts do not depend on the libcap that
 * the machine has. It reports no more than EINVAL; the caller finds the clause at fault by trying them one by one.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <sys/capability.h>

static uint64_t mask_of(cap_t set, cap_flag_t flag)
{
	uint64_t mask = 0;

	/* cap_get_flag fails from the first capability on that libcap does not have. */
	for (cap_value_t capability = 0; capability < 64; capability++) {
		cap_flag_value_t value = CAP_CLEAR;

		if (cap_get_flag(set, capability, flag, &value))
			break;
		if (value == CAP_SET)
			mask |= UINT64_C(1) << capability;
	}
	return mask;
}

int capabilities_from_text(const char *text, struct capability_sets *sets)
{
	cap_t parsed = cap_from_text(text);

	if (!parsed)
		return errno == ENOMEM ? ENOMEM : EINVAL;
	*sets = (struct capability_sets){
		.permitted = mask_of(parsed, CAP_PERMITTED),
		.effective = mask_of(parsed, CAP_EFFECTIVE),
		.inheritable = mask_of(parsed, CAP_INHERITABLE),
	};
	return cap_free(parsed) ? errno : 0;
}

unsigned capability_count(void)
{
	return cap_max_bits();
}

char *capability_name(unsigned capability)
{
	return cap_to_name((cap_value_t)capability);
}

void capability_name_free(char *name)
{
	cap_free(name);
}
