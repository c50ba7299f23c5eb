/*
 * observe.c - what the kernel says of this process
 *
 * Shares no code with what changes it. The ids come from ucred_get(3C), the one interface that has the saved ones too;
 * the sets from getppriv(2). Both allocate, which is safe: no thread is stopped meanwhile, and libc's malloc works in a
 * child of forkx(2).
 */
#include "sunos.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <ucred.h>
#include <unistd.h>

static const char *const sets[SET_COUNT] = {
	[SET_PERMITTED] = PRIV_PERMITTED,
	[SET_LIMIT] = PRIV_LIMIT,
	[SET_EFFECTIVE] = PRIV_EFFECTIVE,
	[SET_INHERITABLE] = PRIV_INHERITABLE,
};

/* No set has a longer text than that of all privileges. */
static size_t names_size(void)
{
	priv_set_t *all = priv_allocset();
	char *text = NULL;
	size_t size = 0;

	if (all) {
		priv_fillset(all);
		text = privileges_to_text(all);
		priv_freeset(all);
	}
	if (text)
		size = strlen(text) + 1;
	free(text);
	return size;
}

/* Of a state and its text: an id has at most ten digits, and each line a name and a newline. */
enum { ID_SIZE = 11, LINES_SIZE = 256 };

size_t state_size(void)
{
	long groups = sysconf(_SC_NGROUPS_MAX);
	size_t names = names_size();

	if (groups < 0 || !names)
		return 0;
	return sizeof(struct state) + (size_t)groups * ID_SIZE + SET_COUNT * names + LINES_SIZE;
}

char *set_names(struct state *state, unsigned set)
{
	return (char *)(state->groups + state->groups_max) + set * state->names_size;
}

static char *append(char *at, const char *text)
{
	size_t length = strlen(text);

	memcpy(at, text, length + 1);
	return at + length;
}

static char *append_number(char *at, unsigned number)
{
	char digit[2] = {(char)('0' + number % 10), '\0'};

	if (number >= 10)
		at = append_number(at, number / 10);
	return append(at, digit);
}

static char *append_line(char *at, const char *name, const unsigned *numbers, size_t count)
{
	at = append(at, name);
	for (size_t i = 0; i < count; i++)
		at = append_number(append(at, " "), numbers[i]);
	return append(at, "\n");
}

void write_state(struct state *state, char *text)
{
	static const char *const names[SET_COUNT] = {
		[SET_PERMITTED] = "permitted ", [SET_LIMIT] = "limit ", [SET_EFFECTIVE] = "effective ", [SET_INHERITABLE] = "inheritable "};

	text = append_line(text, "user", state->user, 3);
	text = append_line(text, "group", state->group, 3);
	text = append_line(text, "groups", state->groups, state->group_count);
	text = append_line(text, "flags", &state->flags, 1);
	for (unsigned set = 0; set < SET_COUNT; set++) {
		text = append(append(text, names[set]), set_names(state, set));
		text = append(text, state->unnamed[set] ? " and more\n" : "\n");
	}
}

static int observe_ids(struct state *state)
{
	ucred_t *own = ucred_get(P_MYID);
	const gid_t *groups = NULL;
	int count;

	if (!own)
		return -1;
	state->user[0] = ucred_getruid(own);
	state->user[1] = ucred_geteuid(own);
	state->user[2] = ucred_getsuid(own);
	state->group[0] = ucred_getrgid(own);
	state->group[1] = ucred_getegid(own);
	state->group[2] = ucred_getsgid(own);
	count = ucred_getgroups(own, &groups);
	if (count > 0 && (size_t)count <= state->groups_max)
		memcpy(state->groups, groups, (size_t)count * sizeof *groups);
	ucred_free(own);

	for (size_t i = 0; i < 3; i++)
		if (state->user[i] == (uid_t)-1 || state->group[i] == (gid_t)-1)
			return -1;
	if (count > 0 && (size_t)count > state->groups_max)
		errno = EOVERFLOW;
	state->group_count = (size_t)count;
	return count < 0 || (size_t)count > state->groups_max ? -1 : 0;
}

priv_set_t *read_privileges(unsigned set)
{
	priv_set_t *found = priv_allocset();

	if (!found || !getppriv(sets[set], found))
		return found;
	priv_freeset(found);
	return NULL;
}

static int observe_set(struct state *state, unsigned set)
{
	priv_set_t *found = read_privileges(set), *named = NULL;
	char *text = found ? privileges_to_text(found) : NULL;
	size_t length = text ? strlen(text) : 0;
	const char *bad;

	if (length >= state->names_size)
		errno = EOVERFLOW;
	else if (text && (named = privileges_from_text(text, &bad)))
		state->unnamed[set] = !priv_isequalset(named, found);
	if (named)
		memcpy(set_names(state, set), text, length + 1);
	if (found)
		priv_freeset(found);
	if (named)
		priv_freeset(named);
	free(text);
	return named ? 0 : -1;
}

bool has_sets(const struct plan *plan)
{
	const priv_set_t *const wanted[] = {
		[SET_PERMITTED] = plan->permitted, [SET_LIMIT] = plan->limit, [SET_EFFECTIVE] = plan->effective};
	bool equal = true;

	for (unsigned set = 0; equal && set <= SET_EFFECTIVE; set++) {
		priv_set_t *found = read_privileges(set);

		equal = found && priv_isequalset(found, wanted[set]);
		if (found)
			priv_freeset(found);
	}
	return equal;
}

/* A system that rejects a flag (EINVAL) does not have the feature either. */
static int observe_flags(struct state *state)
{
	static const uint_t flags[] = {PRIV_AWARE, PRIV_XPOLICY, PRIV_PFEXEC};

	state->flags = 0;
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		uint_t set = getpflags(flags[i]);

		if (set == (uint_t)-1 && (errno != EINVAL || flags[i] == PRIV_AWARE))
			return -1;
		if (set == 1)
			state->flags |= flags[i];
	}
	return 0;
}

int observe_process(struct state *state, size_t size)
{
	long groups = sysconf(_SC_NGROUPS_MAX);

	if (groups < 0 || observe_flags(state))
		return -1;
	state->size = size;
	state->groups_max = (size_t)groups;
	state->names_size = (size - sizeof *state - (size_t)groups * ID_SIZE - LINES_SIZE) / SET_COUNT;
	if (observe_ids(state))
		return -1;
	for (unsigned set = 0; set < SET_COUNT; set++)
		if (observe_set(state, set))
			return -1;
	return 0;
}

int compare_process(struct state *state, size_t size, char *text, const char *wanted)
{
	if (observe_process(state, size))
		return -1;
	write_state(state, text);
	errno = 0;
	return strcmp(text, wanted) ? -1 : 0;
}

/* Does this path lead to that directory? */
static bool leads_to(const char *path, const struct stat *directory)
{
	struct stat found;

	return !stat(path, &found) && found.st_dev == directory->st_dev && found.st_ino == directory->st_ino;
}

bool is_jailed(int root)
{
	struct stat directory;

	return !fstat(root, &directory) && leads_to("/", &directory) && leads_to(".", &directory);
}

bool has_children(void)
{
	siginfo_t info;

	/* WNOWAIT: the child stays for a thread that waits for it. */
	return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || errno != ECHILD;
}
