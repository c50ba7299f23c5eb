/*
 * privileges.c - sets of privileges to text and back, by the system's own rules (priv_str_to_set(3C))
 */
#include "sunos.h"

#include <stdlib.h>
#include <string.h>

priv_set_t *privileges_from_text(const char *text, const char **bad)
{
	/* A set of separators: runs of them, and those at either end, are skipped. */
	return priv_str_to_set(text, " \t\r\n,", bad);
}

char *privileges_to_text(const priv_set_t *set)
{
	/* priv_set_to_str(3C) writes the empty set as "none", which is not the name of a privilege. */
	return priv_isemptyset(set) ? calloc(1, 1) : priv_set_to_str(set, ',', PRIV_STR_LIT);
}
