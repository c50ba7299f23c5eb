/*
 * addon.c - JavaScript values to the plain structs of core.h, and back
 *
 * Nothing is decided here and no argument is checked twice: lib/native.ts is the only caller and its types are the
 * contract. In C, because node-addon-api needs a C++ library, which cannot be had where this is built for Solaris.
 */
#include "../accounts.h"
#include "core.h"

#include <errno.h>
#include <node_api.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* One call from JavaScript. `broken`: Node has refused something, which it does to a Worker that is being terminated; what comes
 * after that means nothing, and nobody is left to be told. */
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
	put(call, failure, "syscall", string(call, step_names[why->step].syscall, NAPI_AUTO_LENGTH));
	put(call, failure, "errno", number(call, why->error));
	put(call, failure, "signal", number(call, why->signo));
	put(call, failure, "tid", number(call, 0));
	put(call, failure, "item", number(call, why->item));
	return failure;
}

static napi_value describe_state(struct call *call, struct state *state)
{
	napi_value result = object(call), privileges = object(call);

	put(call, privileges, "permitted", names(call, set_text(state, SET_PERMITTED)));
	put(call, privileges, "limit", names(call, set_text(state, SET_LIMIT)));
	put(call, privileges, "effective", names(call, set_text(state, SET_EFFECTIVE)));
	put(call, privileges, "inheritable", names(call, set_text(state, SET_INHERITABLE)));
	put(call, result, "user", ids(call, state->user, 3));
	put(call, result, "group", ids(call, state->group, 3));
	put(call, result, "groups", ids(call, state->groups, state->group_count));
	put(call, result, "privileges", privileges);
	put(call, result, "flags", flags(call, state->flags));
	put(call, result, "protected", boolean(call, state->protect));
	put(call, result, "sigusr1Ignored", boolean(call, state->sigusr1_ignored));
	put(call, result, "groupsMax", number(call, (double)state->groups_max));
	return result;
}

static napi_value describe_reading(struct call *call, const struct reading *reading)
{
	napi_value result = object(call);

	put(call, result, "state", describe_state(call, reading->state));
	put(call, result, "jailed", boolean(call, reading->jailed));
	put(call, result, "foreign", array(call));
	put(call, result, "applyMicroseconds", number(call, reading->apply_us));
	put(call, result, "readMicroseconds", number(call, reading->read_us));
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

/* The place of a name in step_names, from there on. One that does not exist is a broken contract. */
static enum step step_of(struct call *call, napi_value value, enum step step, enum step last)
{
	char *name = copy_text(call, value);

	while (!call->broken && strcmp(name, step_names[step].step))
		if (++step > last)
			napi_fatal_error("privdrop", NAPI_AUTO_LENGTH, "a plan has a step that does not exist", NAPI_AUTO_LENGTH);
	free(name);
	return step;
}

static struct attempt *read_attempts(struct call *call, napi_value list, size_t count)
{
	struct attempt *attempts = must_have(calloc(count + 1, sizeof *attempts));

	for (uint32_t i = 0; i < count; i++) {
		napi_value attempt = get_at(call, list, i);

		attempts[i].step = step_of(call, get(call, attempt, "step"), STEP_READ, STEP_BIND);
		attempts[i].path = copy_text(call, get(call, attempt, "path"));
		attempts[i].port = (uint16_t)unsigned_of(call, get(call, attempt, "port"));
	}
	return attempts;
}

/* The text has been read before, so what fails is memory. null: `kept`. Never as names what is kept: a set has bits that have none. */
static priv_set_t *read_set(struct call *call, napi_value from, const char *name, unsigned kept, struct failure *why)
{
	napi_value value = get(call, from, name);
	napi_valuetype type = napi_null;
	priv_set_t *set = NULL;
	const char *bad;
	char *text;

	check(call, napi_typeof(call->env, value, &type));
	if (call->broken)
		return NULL;
	if (type == napi_null) {
		set = read_privileges(kept);
	} else {
		text = copy_text(call, value);
		set = privileges_from_text(text, &bad);
		free(text);
	}
	if (!set)
		*why = (struct failure){.step = STEP_MEMORY, .error = errno};
	return set;
}

/* The memory of the groups stays JavaScript's, and outlives the call. release_plan() in any case. -1: *why. */
static int read_plan(struct call *call, struct plan *plan, struct failure *why)
{
	napi_value from = call->arguments[0];
	napi_value steps = get(call, from, "steps"), attempts = get(call, from, "attempts");
	uint32_t count = length_of(call, steps);
	void *groups = NULL;

	*plan = (struct plan){.attempt_count = length_of(call, attempts)};
	for (uint32_t i = 0; i < count; i++) {
		enum step step = step_of(call, get_at(call, steps, i), STEP_SETGROUPS, STEP_EFFECTIVE);

		plan->steps |= 1u << (step == STEP_FCHDIR ? STEP_CHROOT : step);
	}
	plan->attempts = read_attempts(call, attempts, plan->attempt_count);
	plan->uid = unsigned_of(call, get(call, from, "uid"));
	plan->gid = unsigned_of(call, get(call, from, "gid"));
	check(call, napi_get_typedarray_info(call->env, get(call, from, "groups"), NULL, &plan->group_count, &groups, NULL, NULL));
	plan->groups = groups;
	plan->root = int_of(call, get(call, from, "root"));
	plan->keep_sigusr1 = boolean_of(call, get(call, from, "keepSigusr1"));
	plan->permitted = read_set(call, from, "permitted", SET_PERMITTED, why);
	plan->limit = read_set(call, from, "limit", SET_LIMIT, why);
	/* root that is set aside comes back with all that is permitted */
	plan->effective = read_set(call, from, "effective", plan->steps >> STEP_EFFECTIVE & 1 ? SET_PERMITTED : SET_EFFECTIVE, why);
	return plan->permitted && plan->limit && plan->effective ? 0 : -1;
}

static void release_plan(struct plan *plan)
{
	priv_set_t *const sets[] = {plan->permitted, plan->limit, plan->effective};

	for (size_t i = 0; i < 3; i++)
		if (sets[i])
			priv_freeset(sets[i]);
	for (size_t i = 0; i < plan->attempt_count; i++)
		free(plan->attempts[i].path);
	free((void *)plan->attempts);
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

/* (text) => names | the place of a token that is not known | -errno */
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

/* (root) => { descriptor, kind }[] | failure */
static napi_value descriptors(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	int root = int_of(&call, call.arguments[0]);
	struct failure why;
	int *found = NULL;
	long room = 0, count;
	napi_value list;

	while ((count = list_listeners(root, found, (size_t)room, &why)) > room) {
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

/* (plan) => reading of the child | failure */
static napi_value rehearse_plan(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	struct plan plan;
	struct reading reading = {0};
	struct failure why;
	napi_value result = NULL;

	if (read_plan(&call, &plan, &why) || (!call.broken && rehearse(&plan, &reading, &why))) {
		result = describe_failure(&call, &why);
	} else if (!call.broken) {
		result = describe_reading(&call, &reading);
		release_reading(&reading);
	}
	release_plan(&plan);
	return result;
}

/* What a function that must not fail has thrown, as the last line of this process. */
static _Noreturn void end_with_exception(napi_env env)
{
	static const char head[] = "privdrop: fatal: ";
	static const char unknown[] = "the kernel's answer could not be compared with the plan";
	char line[512];
	char *text = line + sizeof head - 1;
	size_t room = sizeof line - sizeof head, length = 0;
	napi_value exception, message;

	memcpy(line, head, sizeof head - 1);
	if (napi_get_and_clear_last_exception(env, &exception) != napi_ok ||
	    napi_get_named_property(env, exception, "message", &message) != napi_ok ||
	    napi_get_value_string_utf8(env, message, text, room, &length) != napi_ok || length == 0) {
		memcpy(text, unknown, sizeof unknown);
		length = sizeof unknown - 1;
	}
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ')
			text[i] = ' '; /* one line */
	text[length] = '\n';
	end_process(line, (size_t)(text + length + 1 - line));
}

/* (plan, verify: (reading) => T) => T | failure. Whatever keeps verify from returning ends the process. */
static napi_value commit_plan(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	struct plan plan;
	struct reading reading = {0};
	struct failure why;
	napi_value this, found, result = NULL;
	bool refused;

	check(&call, napi_get_undefined(env, &this));
	refused = read_plan(&call, &plan, &why) || call.broken || commit(&plan, &reading, &why);
	release_plan(&plan);
	if (refused)
		return call.broken ? NULL : describe_failure(&call, &why);

	found = describe_reading(&call, &reading);
	release_reading(&reading);
	if (call.broken || napi_call_function(env, this, call.arguments[1], 1, &found, &result) != napi_ok)
		end_with_exception(env);
	return result;
}

/* What the process is to remember, in whatever thread it is asked again. Once; it is never freed. */
static _Atomic(char *) memory;

/* (text) => undefined */
static napi_value remember(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);

	atomic_store(&memory, copy_text(&call, call.arguments[0]));
	return NULL;
}

/* () => text | undefined */
static napi_value recall(napi_env env, napi_callback_info info)
{
	struct call call = begin(env, info);
	const char *text = atomic_load(&memory);

	return text ? string(&call, text, NAPI_AUTO_LENGTH) : NULL;
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

/* With nscd getpwnam_r(3C) says the same of a name that is in no directory and of a directory that is down: 0 and NULL, errno 0.
 * What could be an id besides must not become one by that. */
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
		{"remember", NULL, remember, NULL, NULL, NULL, napi_enumerable, NULL},
		{"recall", NULL, recall, NULL, NULL, NULL, napi_enumerable, NULL},
		{"userByName", NULL, find_user, NULL, NULL, NULL, napi_enumerable, NULL},
		{"userById", NULL, find_user_by_id, NULL, NULL, NULL, napi_enumerable, NULL},
		{"groupByName", NULL, find_group, NULL, NULL, NULL, napi_enumerable, NULL},
	};

	/* It fails in a Worker that is being terminated, which must not end the process. */
	(void)napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
	return exports;
}
