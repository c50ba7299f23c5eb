/*
 * addon.c - JavaScript values to the plain structs of sunos.h, and back
 *
 * Nothing is decided here and no argument is checked twice: lib/native.ts is the only caller and its types are the
 * contract. In C, because node-addon-api needs a C++ library, which cannot be had where this is built for Solaris.
 */
#include "sunos.h"

#include <errno.h>
#include <node_api.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* One call from JavaScript. `broken`: Node has refused a request, as it does in a Worker that is being terminated; what
 * follows has no meaning, and its result reaches nobody. */
struct call {
	napi_env env;
	napi_value arguments[2];
	bool broken;
};

static void check(struct call *call, napi_status status)
{
	call->broken = call->broken || status != napi_ok;
}

static struct call begin(napi_env env, napi_callback_info info)
{
	struct call call = {.env = env};
	size_t count = 2;

	check(&call, napi_get_cb_info(env, info, &count, call.arguments, NULL, NULL));
	return call;
}

static void *must_have(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* ---- to JavaScript ---- */

static napi_value number(struct call *call, double value)
{
	napi_value result = NULL;

	check(call, napi_create_double(call->env, value, &result));
	return result;
}

static napi_value boolean(struct call *call, bool value)
{
	napi_value result = NULL;

	check(call, napi_get_boolean(call->env, value, &result));
	return result;
}

static napi_value string(struct call *call, const char *text, size_t length)
{
	napi_value result = NULL;

	check(call, napi_create_string_utf8(call->env, text, length, &result));
	return result;
}

static napi_value object(struct call *call)
{
	napi_value result = NULL;

	check(call, napi_create_object(call->env, &result));
	return result;
}

static napi_value array(struct call *call)
{
	napi_value result = NULL;

	check(call, napi_create_array(call->env, &result));
	return result;
}

static void put(struct call *call, napi_value object, const char *name, napi_value value)
{
	check(call, napi_set_named_property(call->env, object, name, value));
}

static void put_at(struct call *call, napi_value array, size_t index, napi_value value)
{
	check(call, napi_set_element(call->env, array, (uint32_t)index, value));
}

static napi_value ids(struct call *call, const uid_t *values, size_t count)
{
	napi_value list = array(call);

	for (size_t i = 0; i < count; i++)
		put_at(call, list, i, number(call, values[i]));
	return list;
}

/* 'file_read,net_access' */
static napi_value names(struct call *call, const char *text)
{
	napi_value list = array(call);

	for (size_t i = 0; *text; i++) {
		const char *comma = strchr(text, ',');
		size_t length = comma ? (size_t)(comma - text) : strlen(text);

		put_at(call, list, i, string(call, text, length));
		text += length + (comma != NULL);
	}
	return list;
}

/* By their names in setpflags(2) */
static napi_value flags(struct call *call, uint_t set)
{
	static const struct {
		uint_t flag;
		const char *name;
	} all[] = {{PRIV_AWARE, "PRIV_AWARE"}, {PRIV_XPOLICY, "PRIV_XPOLICY"}, {PRIV_PFEXEC, "PRIV_PFEXEC"}};
	napi_value list = array(call);
	size_t count = 0;

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (set & all[i].flag)
			put_at(call, list, count++, string(call, all[i].name, NAPI_AUTO_LENGTH));
	return list;
}

static napi_value describe_failure(struct call *call, const struct failure *why)
{
	napi_value failure = object(call);

	put(call, failure, "step", string(call, step_names[why->step].step, NAPI_AUTO_LENGTH));
	put(call, failure, "syscall", string(call, why->call ? why->call : step_names[why->step].syscall, NAPI_AUTO_LENGTH));
	put(call, failure, "errno", number(call, why->error));
	put(call, failure, "signal", number(call, why->signo));
	put(call, failure, "tid", number(call, why->tid));
	put(call, failure, "item", number(call, why->item));
	return failure;
}

static napi_value describe_state(struct call *call, struct state *state)
{
	static const char *const dispositions[] = {[IGNORED] = "ignored", [CAUGHT] = "caught", [DEFAULT] = "default", [UNKNOWN] = "unknown"};
	napi_value result = object(call), privileges = object(call);
	char *text = must_have(malloc(state->size));

	write_state(state, text);
	put(call, privileges, "permitted", names(call, set_names(state, SET_PERMITTED)));
	put(call, privileges, "limit", names(call, set_names(state, SET_LIMIT)));
	put(call, privileges, "effective", names(call, set_names(state, SET_EFFECTIVE)));
	put(call, privileges, "inheritable", names(call, set_names(state, SET_INHERITABLE)));
	put(call, result, "user", ids(call, state->user, 3));
	put(call, result, "group", ids(call, state->group, 3));
	put(call, result, "groups", ids(call, state->groups, state->group_count));
	put(call, result, "privileges", privileges);
	put(call, result, "flags", flags(call, state->flags));
	put(call, result, "sigusr1", string(call, dispositions[sigusr1_disposition()], NAPI_AUTO_LENGTH));
	put(call, result, "groupsMax", number(call, (double)state->groups_max));
	put(call, result, "text", string(call, text, NAPI_AUTO_LENGTH));
	free(text);
	return result;
}

static napi_value describe_answers(struct call *call, const struct plan *plan, const struct rehearsal *rehearsal)
{
	static const char *const by[] = {"none", "user", "writer", "others"}; /* enum exchanged_by */
	napi_value list = array(call);

	for (size_t i = 0; i < plan->question_count; i++) {
		const struct answer *given = &rehearsal->answers[i];
		napi_value answer = object(call);

		put(call, answer, "errno", number(call, given->error));
		put(call, answer, "by", string(call, by[given->by], NAPI_AUTO_LENGTH));
		if (given->by != EXCHANGED_BY_NONE && given->found >= 0)
			put(call, answer, "found", string(call, rehearsal->found + given->found, NAPI_AUTO_LENGTH));
		put_at(call, list, i, answer);
	}
	return list;
}

static napi_value describe_rehearsal(struct call *call, const struct plan *plan, const struct rehearsal *rehearsal)
{
	napi_value result = object(call), inside = NULL;
	size_t size = rehearsal->inside_count * sizeof *rehearsal->inside;
	void *copy = NULL;

	put(call, result, "answers", describe_answers(call, plan, rehearsal));
	put(call, result, "state", describe_state(call, rehearsal->state));
	put(call, result, "jailed", boolean(call, rehearsal->jailed));
	check(call, napi_create_arraybuffer(call->env, size, &copy, &inside));
	if (!call->broken && size)
		memcpy(copy, rehearsal->inside, size);
	put(call, result, "inside", inside);
	return result;
}

/* ---- from JavaScript ---- */

/* A NUL-terminated copy in UTF-8; free() it. */
static char *copy_text(struct call *call, napi_value value)
{
	size_t length = 0;
	char *text;

	check(call, napi_get_value_string_utf8(call->env, value, NULL, 0, &length));
	text = must_have(calloc(1, length + 1));
	check(call, napi_get_value_string_utf8(call->env, value, text, length + 1, &length));
	return text;
}

static uint32_t unsigned_of(struct call *call, napi_value value)
{
	uint32_t result = 0;

	check(call, napi_get_value_uint32(call->env, value, &result));
	return result;
}

static int int_of(struct call *call, napi_value value)
{
	int32_t result = 0;

	check(call, napi_get_value_int32(call->env, value, &result));
	return result;
}

static bool boolean_of(struct call *call, napi_value value)
{
	bool result = false;

	check(call, napi_get_value_bool(call->env, value, &result));
	return result;
}

static napi_value get(struct call *call, napi_value object, const char *name)
{
	napi_value result = NULL;

	check(call, napi_get_named_property(call->env, object, name, &result));
	return result;
}

static napi_value get_at(struct call *call, napi_value array, uint32_t index)
{
	napi_value result = NULL;

	check(call, napi_get_element(call->env, array, index, &result));
	return result;
}

static uint32_t length_of(struct call *call, napi_value array)
{
	uint32_t length = 0;

	check(call, napi_get_array_length(call->env, array, &length));
	return length;
}

/* The index of a name in step_names, from `step` on. An unknown name is a broken contract. */
static enum step step_of(struct call *call, napi_value value, enum step step, enum step last)
{
	char *name = copy_text(call, value);

	while (!call->broken && strcmp(name, step_names[step].step))
		if (++step > last)
			napi_fatal_error("privdrop", NAPI_AUTO_LENGTH, "a plan has a step that does not exist", NAPI_AUTO_LENGTH);
	free(name);
	return step;
}

static struct question *read_questions(struct call *call, napi_value list, size_t count)
{
	struct question *questions = must_have(calloc(count + 1, sizeof *questions));

	for (uint32_t i = 0; i < count; i++) {
		napi_value question = get_at(call, list, i);

		questions[i].kind = step_of(call, get(call, question, "kind"), STEP_READ, STEP_EXCHANGE);
		questions[i].path = copy_text(call, get(call, question, "path"));
		questions[i].number = int_of(call, get(call, question, "number"));
	}
	return questions;
}

static const gid_t *ids_of(struct call *call, napi_value value, size_t *count)
{
	void *memory = NULL;

	check(call, napi_get_typedarray_info(call->env, value, NULL, count, &memory, NULL, NULL));
	return memory;
}

/* null: the set `kept` as it is, and never by its names, because it may have bits without one. A text has been parsed
 * before, so only memory can fail. */
static priv_set_t *read_set(struct call *call, napi_value from, const char *name, unsigned kept, struct failure *why)
{
	napi_value value = get(call, from, name);
	napi_valuetype type = napi_null;
	priv_set_t *set = NULL;
	const char *bad;

	check(call, napi_typeof(call->env, value, &type));
	if (call->broken)
		return NULL;
	if (type == napi_null) {
		set = read_privileges(kept);
	} else {
		char *text = copy_text(call, value);

		set = privileges_from_text(text, &bad);
		free(text);
	}
	if (!set)
		*why = (struct failure){.step = STEP_MEMORY, .error = errno};
	return set;
}

static volatile uint8_t kept; /* 1 from the commit on */

/* Groups and directories stay in JavaScript's memory, which outlives the call. release_plan() in any case. -1 with
 * *why. */
static int read_plan(struct call *call, struct plan *plan, struct failure *why)
{
	napi_value from = call->arguments[0];
	napi_value steps = get(call, from, "steps"), questions = get(call, from, "questions");
	uint32_t count = length_of(call, steps);
	void *inside = NULL;
	size_t inside_size = 0;

	*plan = (struct plan){.question_count = length_of(call, questions), .kept = &kept};
	for (uint32_t i = 0; i < count; i++) {
		enum step step = step_of(call, get_at(call, steps, i), STEP_FCHDIR, STEP_EFFECTIVE);

		plan->steps |= (step_set)1 << (step == STEP_FCHDIR ? STEP_CHROOT : step);
	}
	plan->questions = read_questions(call, questions, plan->question_count);
	plan->uid = unsigned_of(call, get(call, from, "uid"));
	plan->gid = unsigned_of(call, get(call, from, "gid"));
	plan->groups = ids_of(call, get(call, from, "groups"), &plan->group_count);
	plan->account_groups = ids_of(call, get(call, from, "accountGroups"), &plan->account_group_count);
	plan->root = int_of(call, get(call, from, "root"));
	plan->keep_sigusr1 = boolean_of(call, get(call, from, "keepSigusr1"));
	plan->permitted = read_set(call, from, "permitted", SET_PERMITTED, why);
	plan->limit = read_set(call, from, "limit", SET_LIMIT, why);
	/* null: root that was set aside (seteuid(2)) comes back, with all that is permitted */
	plan->effective = read_set(call, from, "effective", has_step(plan->steps, STEP_EFFECTIVE) ? SET_PERMITTED : SET_EFFECTIVE, why);
	plan->before = copy_text(call, get(call, from, "before"));
	plan->expected = copy_text(call, get(call, from, "expected"));
	check(call, napi_get_arraybuffer_info(call->env, get(call, from, "inside"), &inside, &inside_size));
	plan->inside = inside;
	plan->inside_count = inside_size / sizeof *plan->inside;
	return plan->permitted && plan->limit && plan->effective ? 0 : -1;
}

static void release_plan(struct plan *plan)
{
	priv_set_t *const sets[] = {plan->permitted, plan->limit, plan->effective};

	for (size_t i = 0; i < 3; i++)
		if (sets[i])
			priv_freeset(sets[i]);
	for (size_t i = 0; i < plan->question_count; i++)
		free((void *)plan->questions[i].path);
	free((void *)plan->questions);
	free((void *)plan->before);
	free((void *)plan->expected);
}

/* ---- what lib/native.ts calls ---- */

/* () => state | failure */
static napi_value observe(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	size_t size = state_size();
	struct state *state = size ? malloc(size) : NULL;
	napi_value result;

	if (!state || observe_process(state, size))
		result = describe_failure(&call, &(struct failure){.step = STEP_OBSERVE, .error = errno});
	else
		result = describe_state(&call, state);
	free(state);
	return result;
}

/* (text) => names | the offset of an unknown name | -errno */
static napi_value privileges_from(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	char *text = copy_text(&call, call.arguments[0]), *list = NULL;
	const char *bad = NULL;
	priv_set_t *set = privileges_from_text(text, &bad);
	napi_value result;

	if (set)
		list = privileges_to_text(set);
	if (list)
		result = names(&call, list);
	else
		result = number(&call, bad ? (double)(bad - text) : -errno);
	if (set)
		priv_freeset(set);
	free(list);
	free(text);
	return result;
}

/* (text) => which of the sets are exactly this one now: names | -errno */
static napi_value sets_held(napi_env env, napi_callback_info info)
{
	static const char *const sets[] = {[SET_PERMITTED] = "permitted", [SET_LIMIT] = "limit", [SET_EFFECTIVE] = "effective"};
	struct call call = begin(env, info);
	char *text = copy_text(&call, call.arguments[0]);
	const char *bad;
	priv_set_t *wanted = privileges_from_text(text, &bad);
	napi_value list = array(&call);
	bool failed = !wanted;

	for (unsigned set = 0, count = 0; !failed && set <= SET_EFFECTIVE; set++) {
		priv_set_t *found = read_privileges(set);

		failed = !found;
		if (found && priv_isequalset(found, wanted))
			put_at(&call, list, count++, string(&call, sets[set], NAPI_AUTO_LENGTH));
		if (found)
			priv_freeset(found);
	}
	if (failed)
		list = number(&call, -errno);
	if (wanted)
		priv_freeset(wanted);
	free(text);
	return list;
}

/* () => { descriptor, kind, writable, sharesPort, name }[] | failure */
static napi_value descriptors(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	struct failure why;
	int *found = NULL;
	long room = 0, count;
	napi_value list;

	while ((count = list_listeners(found, (size_t)room, &why)) > room) {
		free(found);
		room = count;
		found = must_have(calloc((size_t)room, sizeof *found));
	}
	if (count < 0) {
		free(found);
		return describe_failure(&call, &why);
	}
	list = array(&call);
	for (long i = 0; i < count; i++) {
		napi_value entry = object(&call);

		put(&call, entry, "descriptor", number(&call, found[i]));
		put(&call, entry, "kind", string(&call, "listens", NAPI_AUTO_LENGTH));
		put(&call, entry, "writable", boolean(&call, false));
		put(&call, entry, "sharesPort", boolean(&call, false));
		put(&call, entry, "name", string(&call, "", 0));
		put_at(&call, list, (size_t)i, entry);
	}
	free(found);
	return list;
}

/* () => boolean */
static napi_value children(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);

	return boolean(&call, has_children());
}

/* (path) => { descriptor, path } | failure with `found` */
static napi_value open_new_root(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	char walked[WALK_PATH_MAX], *path = copy_text(&call, call.arguments[0]);
	struct failure why = {.step = STEP_NONE};
	int root = open_root(path, walked, &why);
	napi_value result = root < 0 ? describe_failure(&call, &why) : object(&call);

	free(path);
	if (root >= 0)
		put(&call, result, "descriptor", number(&call, root));
	put(&call, result, root < 0 ? "found" : "path", string(&call, walked, NAPI_AUTO_LENGTH));
	return result;
}

/* (plan) => what the child has left behind | failure */
static napi_value rehearse_plan(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	struct plan plan;
	struct rehearsal rehearsal;
	struct failure why = {.step = STEP_NONE}; /* stays so if the call is broken */
	napi_value result = NULL;

	if (read_plan(&call, &plan, &why) || (!call.broken && rehearse(&plan, &rehearsal, &why))) {
		result = describe_failure(&call, &why);
	} else if (!call.broken) {
		result = describe_rehearsal(&call, &plan, &rehearsal);
		release_rehearsal(&rehearsal);
	}
	release_plan(&plan);
	return result;
}

/* (plan) => { applyMicroseconds, readMicroseconds } | failure */
static napi_value commit_plan(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	struct plan plan;
	struct committed done;
	struct failure why = {.step = STEP_NONE};
	napi_value result = NULL;

	if (read_plan(&call, &plan, &why) || (!call.broken && commit(&plan, &done, &why))) {
		result = describe_failure(&call, &why);
	} else if (!call.broken) {
		result = object(&call);
		put(&call, result, "applyMicroseconds", number(&call, done.apply_us));
		put(&call, result, "readMicroseconds", number(&call, done.read_us));
	}
	release_plan(&plan);
	return result;
}

/* (listened) => errno, or -1: the application's own handler is installed */
static napi_value hold(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	int held = hold_sigusr1(boolean_of(&call, call.arguments[0]));

	return number(&call, held > 0 ? -1 : held ? errno : 0);
}

/* () => errno */
static napi_value give_back(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);

	return number(&call, give_sigusr1_back() ? errno : 0);
}

static _Atomic(char *) promised;

/* (text) => undefined: what recall() returns from the commit on. Never freed, because a Worker may be reading it. */
static napi_value promise(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);

	atomic_store(&promised, copy_text(&call, call.arguments[0]));
	return NULL;
}

/* () => text | undefined */
static napi_value recall(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	const char *text = kept ? atomic_load(&promised) : NULL;

	return text ? string(&call, text, NAPI_AUTO_LENGTH) : NULL;
}

/* () => an ArrayBuffer of one byte: 1 from the commit on */
static napi_value kept_byte(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	napi_value buffer = NULL;

	check(&call, napi_create_external_arraybuffer(env, (void *)&kept, 1, NULL, NULL, &buffer));
	return buffer;
}

/* (reason) => does not return */
static napi_value end(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);

	end_process(copy_text(&call, call.arguments[0]));
}

/* found: { uid?, gid } | no such account: undefined | the name service failed: errno */
static napi_value account(struct call *call, int found, const uid_t *uid, gid_t gid, int error)
{
	napi_value result;

	if (found < 0)
		return number(call, error);
	if (!found)
		return NULL;
	result = object(call);
	if (uid)
		put(call, result, "uid", number(call, *uid));
	put(call, result, "gid", number(call, gid));
	return result;
}

/* With nscd, getpwnam_r(3C) answers the same for a name that is in no directory and for a directory that is down: 0 and
 * NULL, errno 0. A text that could be an id must not be taken for one because of that. */
static int absent_for_sure(const char *name, int found, int *error)
{
	if (found || name[strspn(name, "0123456789")])
		return found;
	*error = ENOENT;
	return -1;
}

static napi_value find_user(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	char *name = copy_text(&call, call.arguments[0]);
	uid_t uid = 0;
	gid_t gid = 0;
	int error = 0, found = user_by_name(name, &uid, &gid, &error);

	found = absent_for_sure(name, found, &error);
	free(name);
	return account(&call, found, &uid, gid, error);
}

static napi_value find_user_by_id(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	gid_t gid = 0;
	int error = 0, found = user_by_id(unsigned_of(&call, call.arguments[0]), &gid, &error);

	return account(&call, found, NULL, gid, error);
}

static napi_value find_group(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	char *name = copy_text(&call, call.arguments[0]);
	gid_t gid = 0;
	int error = 0, found = group_by_name(name, &gid, &error);

	found = absent_for_sure(name, found, &error);
	free(name);
	return account(&call, found, NULL, gid, error);
}

/* (gid) => name | undefined: there is none | errno */
static napi_value find_group_by_id(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	char *name;
	int error = 0, found = name_of_group(unsigned_of(&call, call.arguments[0]), &name, &error);
	napi_value result = NULL;

	if (found < 0)
		return number(&call, error);
	if (found)
		result = string(&call, name, NAPI_AUTO_LENGTH);
	free(name);
	return result;
}

/* (uid, primary gid) => gids | errno */
static napi_value list_account_groups(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	gid_t *groups;
	size_t count;
	int error = account_groups(unsigned_of(&call, call.arguments[0]), unsigned_of(&call, call.arguments[1]), &groups, &count);
	napi_value list;

	if (error)
		return number(&call, error);
	list = ids(&call, groups, count);
	free(groups);
	return list;
}

NAPI_MODULE_INIT()
{
	static const napi_property_descriptor functions[] = {
		{"observe", NULL, observe, NULL, NULL, NULL, napi_enumerable, NULL},
		{"privilegesFromText", NULL, privileges_from, NULL, NULL, NULL, napi_enumerable, NULL},
		{"setsHeld", NULL, sets_held, NULL, NULL, NULL, napi_enumerable, NULL},
		{"descriptors", NULL, descriptors, NULL, NULL, NULL, napi_enumerable, NULL},
		{"hasChildren", NULL, children, NULL, NULL, NULL, napi_enumerable, NULL},
		{"rehearse", NULL, rehearse_plan, NULL, NULL, NULL, napi_enumerable, NULL},
		{"commit", NULL, commit_plan, NULL, NULL, NULL, napi_enumerable, NULL},
		{"openRoot", NULL, open_new_root, NULL, NULL, NULL, napi_enumerable, NULL},
		{"holdSigusr1", NULL, hold, NULL, NULL, NULL, napi_enumerable, NULL},
		{"giveSigusr1Back", NULL, give_back, NULL, NULL, NULL, napi_enumerable, NULL},
		{"promise", NULL, promise, NULL, NULL, NULL, napi_enumerable, NULL},
		{"recall", NULL, recall, NULL, NULL, NULL, napi_enumerable, NULL},
		{"kept", NULL, kept_byte, NULL, NULL, NULL, napi_enumerable, NULL},
		{"endProcess", NULL, end, NULL, NULL, NULL, napi_enumerable, NULL},
		{"userByName", NULL, find_user, NULL, NULL, NULL, napi_enumerable, NULL},
		{"userById", NULL, find_user_by_id, NULL, NULL, NULL, napi_enumerable, NULL},
		{"groupByName", NULL, find_group, NULL, NULL, NULL, napi_enumerable, NULL},
		{"groupById", NULL, find_group_by_id, NULL, NULL, NULL, napi_enumerable, NULL},
		{"accountGroups", NULL, list_account_groups, NULL, NULL, NULL, napi_enumerable, NULL},
	};

	/* It fails in a Worker that is being terminated, which must not end the process. */
	(void)napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
	return exports;
}
