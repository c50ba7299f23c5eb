/*
 * observe.c - what the kernel says of this process
 *
 * Shares no code with what changes it. The ids come from ucred_get(3C), the one interface that has the saved ones, too; the
 * sets from getppriv(2). Both allocate: no thread stands still here meanwhile, and a child of forkx(2) may, because libc's
 * malloc is safe across it.
 */
#include "core.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <ucred.h>
#include <unistd.h>

static const char *const set_names[SET_COUNT] = {
	[SET_PERMITTED] = PRIV_PERMITTED,
	[SET_LIMIT] = PRIV_LIMIT,
	[SET_EFFECTIVE] = PRIV_EFFECTIVE,
	[SET_INHERITABLE] = PRIV_INHERITABLE,
};

/* No set has a longer text than that of all privileges. */
static size_t text_size(void)
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

static size_t size_for(size_t groups, size_t text)
{
	return sizeof(struct state) + groups * sizeof(gid_t) + SET_COUNT * text;
}

size_t state_size(void)
{
	long groups = sysconf(_SC_NGROUPS_MAX);
	size_t text = text_size();

	return groups < 0 || !text ? 0 : size_for((size_t)groups, text);
}

char *set_text(struct state *state, unsigned set)
{
	return (char *)(state->groups + state->groups_max) + set * state->text_size;
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

	if (!found || !getppriv(set_names[set], found))
		return found;
	priv_freeset(found);
	return NULL;
}

static int observe_set(struct state *state, unsigned set)
{
	priv_set_t *found = read_privileges(set);
	char *text = found ? privileges_to_text(found) : NULL;
	size_t length = 0;

	if (text && (length = strlen(text)) < state->text_size)
		memcpy(set_text(state, set), text, length + 1);
	if (text && length >= state->text_size)
		errno = EOVERFLOW;
	if (found)
		priv_freeset(found);
	free(text);
	return text && length < state->text_size ? 0 : -1;
}

/* A system that does not know a flag (EINVAL) does not have what it stands for. */
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
	struct sigaction sigusr1;

	if (groups < 0 || observe_flags(state) || sigaction(SIGUSR1, NULL, &sigusr1))
		return -1;
	state->protect = is_protected();
	state->sigusr1_ignored = sigusr1.sa_handler == SIG_IGN;
	state->groups_max = (size_t)groups;
	state->text_size = (size - size_for((size_t)groups, 0)) / SET_COUNT;
	if (observe_ids(state))
		return -1;
	for (unsigned set = 0; set < SET_COUNT; set++)
		if (observe_set(state, set))
			return -1;
	return 0;
}

/* Does this path lead to the directory that is open there? */
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

	/* WNOWAIT: whoever waits for them goes on doing so. */
	return !waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || errno != ECHILD;
}
