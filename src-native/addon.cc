/*
 * addon.cc - JavaScript values to the plain structs of plan.h and linux/linux.h, and back
 *
 * Nothing is decided here and no argument is checked twice: lib/native.ts is the only caller and its types are the
 * contract. A broken contract ends the process (napi_fatal_error).
 *
 * No std::string, no exceptions: with the operators below the addon needs no C++ library at run time, so it does
 * not depend on the one that a distribution happens to have.
 */
#include <napi.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "linux/linux.h"

void *operator new(size_t size) {
	void *memory = malloc(size);
	if (!memory) abort();
	return memory;
}
void *operator new[](size_t size) { return operator new(size); }
void operator delete(void *memory) noexcept { free(memory); }
void operator delete(void *memory, size_t) noexcept { free(memory); }
void operator delete[](void *memory) noexcept { free(memory); }
void operator delete[](void *memory, size_t) noexcept { free(memory); }

namespace {

using Napi::CallbackInfo;
using Napi::Env;
using Napi::Object;
using Napi::Value;

/* A NUL-terminated copy in UTF-8; free() it. */
char *copy_text(const Value &value) {
	size_t length = 0;
	napi_get_value_string_utf8(value.Env(), value, nullptr, 0, &length);
	char *text = static_cast<char *>(malloc(length + 1));
	if (!text) abort();
	napi_get_value_string_utf8(value.Env(), value, text, length + 1, &length);
	text[length] = '\0';
	return text;
}

Object describe(Env env, const struct failure &why) {
	Object failure = Object::New(env);
	failure.Set("step", step_names[why.step].step);
	failure.Set("syscall", why.call ? why.call : step_names[why.step].syscall);
	failure.Set("errno", why.error);
	failure.Set("signal", why.signo);
	failure.Set("tid", why.tid);
	failure.Set("item", why.item);
	return failure;
}

/* Undefined where a Worker cannot read the property any more, because it is being terminated: the empty Value of
 * Object::Get() would end the process when it is used. */
Value get(const Object &object, const char *name) {
	napi_value value = nullptr;
	if (napi_get_named_property(object.Env(), object, name, &value) != napi_ok) return object.Env().Undefined();
	return Value(object.Env(), value);
}

Value get(const Napi::Array &array, uint32_t index) {
	napi_value value = nullptr;
	if (napi_get_element(array.Env(), array, index, &value) != napi_ok) return array.Env().Undefined();
	return Value(array.Env(), value);
}

uint32_t number_at(const Object &object, const char *name) { return get(object, name).As<Napi::Number>().Uint32Value(); }

uint64_t mask_at(const Object &object, const char *name) {
	bool lossless;
	return get(object, name).As<Napi::BigInt>().Uint64Value(&lossless);
}

/* The index of a name in step_names, from `step` on. An unknown name is a broken contract; a Worker that is being
 * terminated reads an empty one. */
enum step step_at(const Value &value, int step, int last) {
	char name[32] = "";
	napi_get_value_string_utf8(value.Env(), value, name, sizeof name, nullptr);
	while (*name && strcmp(name, step_names[step].step))
		if (++step > last) Napi::Error::Fatal("privdrop", "a plan has a step that does not exist");
	return static_cast<enum step>(*name ? step : STEP_NONE);
}

/* The kernel's bytes, which JavaScript holds as a latin1 string. free() them. */
struct text copy_status(const Value &value) {
	size_t length = 0;
	napi_get_value_string_latin1(value.Env(), value, nullptr, 0, &length);
	char *text = static_cast<char *>(malloc(length + 1));
	if (!text) abort();
	napi_get_value_string_latin1(value.Env(), value, text, length + 1, &length);
	return {text, length};
}

/* free_plan() frees them. */
struct question *read_questions(const Napi::Array &from) {
	struct question *questions = static_cast<struct question *>(calloc(from.Length() + 1, sizeof *questions));
	if (!questions) abort();
	for (uint32_t i = 0; i < from.Length(); i++) {
		Object question = get(from, i).As<Object>();
		questions[i].kind = step_at(get(question, "kind"), STEP_READ, STEP_EXCHANGE);
		questions[i].path = copy_text(get(question, "path"));
		questions[i].number = static_cast<int>(number_at(question, "number"));
	}
	return questions;
}

/* What harden() has promised, for every thread and every copy of this package: the text, and whether it holds. */
std::atomic<char *> promise;
volatile uint8_t kept;

/* Groups and directories stay in JavaScript's memory, which outlives the call. */
struct plan read_plan(const Object &from) {
	struct plan plan = {};
	Napi::Array steps = get(from, "steps").As<Napi::Array>();
	Napi::Array questions = get(from, "questions").As<Napi::Array>();
	Napi::Uint32Array groups = get(from, "groups").As<Napi::Uint32Array>();
	Napi::Uint32Array groups_of_account = get(from, "accountGroups").As<Napi::Uint32Array>();
	Napi::ArrayBuffer inside = get(from, "inside").As<Napi::ArrayBuffer>();

	for (uint32_t i = 0; i < steps.Length(); i++)
		plan.steps |= static_cast<step_set>(1) << step_at(get(steps, i), STEP_CHROOT, STEP_NO_NEW_PRIVS);
	plan.questions = read_questions(questions);
	plan.question_count = questions.Length();
	plan.uid = number_at(from, "uid");
	plan.gid = number_at(from, "gid");
	plan.groups = groups.Data();
	plan.group_count = groups.ElementLength();
	plan.account_groups = groups_of_account.Data();
	plan.account_group_count = groups_of_account.ElementLength();
	plan.sets.permitted = mask_at(from, "permitted");
	plan.sets.effective = mask_at(from, "effective");
	plan.sets.inheritable = mask_at(from, "inheritable");
	plan.sets.ambient = mask_at(from, "ambient");
	plan.held.permitted = mask_at(from, "heldPermitted");
	plan.held.effective = mask_at(from, "heldEffective");
	plan.held.inheritable = mask_at(from, "heldInheritable");
	plan.held_group_count = number_at(from, "heldGroups");
	plan.bounding_drop = mask_at(from, "boundingDrop");
	plan.securebits = number_at(from, "securebits");
	plan.root = get(from, "root").As<Napi::Number>().Int32Value();
	plan.keep_sigusr1 = get(from, "keepSigusr1").As<Napi::Boolean>();
	plan.without_kcmp = get(from, "withoutKcmp").As<Napi::Boolean>();
	plan.without_regain = get(from, "withoutRegain").As<Napi::Boolean>();
	plan.expected = copy_status(get(from, "expected"));
	plan.inside = static_cast<struct directory *>(inside.Data());
	plan.inside_count = inside.ByteLength() / sizeof(struct directory);
	plan.kept = &kept;
	/* Last: a Worker that could read this could read all the rest. */
	plan.before = copy_status(get(from, "before"));
	return plan;
}

void free_plan(const struct plan &plan) {
	for (size_t i = 0; i < plan.question_count; i++) free(const_cast<char *>(plan.questions[i].path));
	free(const_cast<struct question *>(plan.questions));
	free(const_cast<char *>(plan.before.at));
	free(const_cast<char *>(plan.expected.at));
}

Value latin1(Env env, const char *text, size_t length) {
	napi_value value = nullptr;
	napi_create_string_latin1(env, text, length, &value);
	return Value(env, value);
}

/* () => { status, securebits } | failure */
Value Observe(const CallbackInfo &info) {
	struct failure why;
	uint32_t securebits;
	char *status;

	if (observe_thread(&status, &securebits, &why)) return describe(info.Env(), why);
	Object result = Object::New(info.Env());
	result.Set("status", latin1(info.Env(), status, NAPI_AUTO_LENGTH));
	result.Set("securebits", securebits);
	free(status);
	return result;
}

/* () => { descriptor, kind, writable, sharesPort, name }[] | failure */
Value Descriptors(const CallbackInfo &info) {
	static const char *const kinds[] = {"plain", "ring", "file", "listens", "datagram", "peer", "raw", "packet", "netlink"}; /* enum descriptor_kind */
	struct descriptor *found = nullptr;
	struct failure why;
	long room = 0, count;

	while ((count = list_descriptors(found, room, &why)) > room) {
		free(found);
		room = count;
		if (!(found = static_cast<struct descriptor *>(calloc(room, sizeof *found)))) abort();
	}
	Napi::Array list = Napi::Array::New(info.Env());
	for (long i = 0; i < count; i++) {
		Object entry = Object::New(info.Env());
		entry.Set("descriptor", found[i].number);
		entry.Set("kind", kinds[found[i].kind]);
		entry.Set("writable", found[i].writable);
		entry.Set("sharesPort", found[i].shares_port);
		entry.Set("name", found[i].name);
		list.Set(static_cast<uint32_t>(i), entry);
	}
	free(found);
	if (count < 0) return describe(info.Env(), why);
	return list;
}

/* (path) => { descriptor, path } | failure with `found` */
Value OpenRoot(const CallbackInfo &info) {
	char walked[4096]; /* PATH_MAX */
	struct failure why = {};
	char *path = copy_text(info[0]);
	int root = open_root(path, walked, &why);

	free(path);
	Object result = root < 0 ? describe(info.Env(), why) : Object::New(info.Env());
	if (root >= 0) result.Set("descriptor", root);
	result.Set(root < 0 ? "found" : "path", walked);
	return result;
}

/* `found`: the paths of a rehearsal */
Object describe(Env env, const struct answer &given, const char *found) {
	static const char *const by[] = {"none", "user", "writer", "others"}; /* enum exchanged_by */
	bool has_found = given.by != EXCHANGED_BY_NONE && given.found >= 0;
	Object answer = Object::New(env);

	answer.Set("errno", given.error);
	answer.Set("by", by[given.by]);
	answer.Set("found", has_found ? Value(Napi::String::New(env, found + given.found)) : env.Undefined());
	return answer;
}

Object describe(Env env, const struct plan &plan, const struct rehearsal &rehearsal) {
	Object result = Object::New(env);
	Napi::Array answers = Napi::Array::New(env, plan.question_count);
	Object yes = describe(env, {0, EXCHANGED_BY_NONE, -1}, nullptr); /* one for the many, such as a server's modules */

	for (uint32_t i = 0; i < plan.question_count; i++) {
		const struct answer &given = rehearsal.answers[i];
		bool is_yes = !given.error && given.by == EXCHANGED_BY_NONE;
		answers.Set(i, is_yes ? yes : describe(env, given, rehearsal.found));
	}
	result.Set("answers", answers);
	result.Set("status", latin1(env, rehearsal.status.at, rehearsal.status.length));
	result.Set("securebits", rehearsal.securebits);
	result.Set("jailed", rehearsal.jailed);
	result.Set("dumpable", rehearsal.dumpable);

	size_t size = rehearsal.inside_count * sizeof(struct directory);
	void *copy = nullptr;
	napi_value inside = nullptr;
	/* It fails in a Worker that is being terminated. */
	if (napi_create_arraybuffer(env, size, &copy, &inside) == napi_ok) {
		if (size) memcpy(copy, rehearsal.inside, size);
		result.Set("inside", inside);
	}
	return result;
}

/* (plan) => what the child has left behind | failure */
Value Rehearse(const CallbackInfo &info) {
	struct plan plan = read_plan(info[0].As<Object>());
	struct rehearsal rehearsal = {};
	struct failure why = {};

	if (!plan.before.length) {
		free_plan(plan);
		return info.Env().Undefined();
	}
	if (rehearse(&plan, &rehearsal, &why)) {
		free_plan(plan);
		return describe(info.Env(), why);
	}
	Object result = describe(info.Env(), plan, rehearsal);
	free_plan(plan);
	release_rehearsal(&rehearsal);
	return result;
}

Object describe(Env env, const struct committed &done) {
	Object result = Object::New(env);
	Napi::Array threads = Napi::Array::New(env, done.count);
	Napi::Array children = Napi::Array::New(env, done.root_child_count);

	for (uint32_t i = 0; i < done.count; i++) {
		Object thread = Object::New(env);
		thread.Set("tid", done.threads[i].tid);
		thread.Set("name", latin1(env, done.threads[i].name, NAPI_AUTO_LENGTH));
		threads.Set(i, thread);
	}
	for (uint32_t i = 0; i < done.root_child_count; i++) children.Set(i, done.root_children[i]);
	result.Set("threads", threads);
	result.Set("rootChildren", children);
	result.Set("parkTries", done.park_tries);
	result.Set("parkMicroseconds", done.park_us);
	result.Set("applyMicroseconds", done.apply_us);
	result.Set("readMicroseconds", done.read_us);
	return result;
}

/* (plan) => the result | failure */
Value Commit(const CallbackInfo &info) {
	struct plan plan = read_plan(info[0].As<Object>());
	struct committed done = {};
	struct failure why = {};

	if (!plan.before.length) {
		free_plan(plan);
		return info.Env().Undefined();
	}
	int refused = commit(&plan, &done, &why);
	free_plan(plan);
	if (refused) return describe(info.Env(), why);
	Object result = describe(info.Env(), done);
	release_commit(&done);
	return result;
}

/* (listened) => errno, or -1: the application's own handler is installed */
Value HoldSigusr1(const CallbackInfo &info) {
	int held = hold_sigusr1(info[0].As<Napi::Boolean>());
	return Napi::Number::New(info.Env(), held > 0 ? -1 : held ? errno : 0);
}

/* () => errno */
Value GiveSigusr1Back(const CallbackInfo &info) {
	return Napi::Number::New(info.Env(), give_sigusr1_back() ? errno : 0);
}

/* (text) => undefined: what recall() returns from the commit on. Never freed, because a Worker may be reading it. */
void Promise(const CallbackInfo &info) { promise.store(copy_text(info[0])); }

/* () => text | undefined */
Value Recall(const CallbackInfo &info) {
	const char *text = kept ? promise.load() : nullptr;
	if (!text) return info.Env().Undefined();
	return Napi::String::New(info.Env(), text);
}

/* () => an ArrayBuffer of one byte: 1 from the commit on */
Value Kept(const CallbackInfo &info) {
	napi_value buffer = nullptr;
	napi_create_external_arraybuffer(info.Env(), const_cast<uint8_t *>(&kept), 1, nullptr, nullptr, &buffer);
	return Value(info.Env(), buffer);
}

/* (reason) => does not return */
void EndProcess(const CallbackInfo &info) { end_process(copy_text(info[0])); }

/* (text) => { permitted, effective, inheritable } | errno */
Value CapabilitiesFromText(const CallbackInfo &info) {
	struct capability_sets sets;
	char *text = copy_text(info[0]);
	int error = capabilities_from_text(text, &sets);

	free(text);
	if (error) return Napi::Number::New(info.Env(), error);
	Object result = Object::New(info.Env());
	result.Set("permitted", Napi::BigInt::New(info.Env(), sets.permitted));
	result.Set("effective", Napi::BigInt::New(info.Env(), sets.effective));
	result.Set("inheritable", Napi::BigInt::New(info.Env(), sets.inheritable));
	return result;
}

/* () => the names of this kernel's capabilities, by number */
Value CapabilityNames(const CallbackInfo &info) {
	unsigned count = capability_count();
	Napi::Array names = Napi::Array::New(info.Env(), count);

	for (unsigned capability = 0; capability < count; capability++) {
		char *name = capability_name(capability);
		names.Set(capability, name ? name : "");
		capability_name_free(name);
	}
	return names;
}

/* found: { uid?, gid } | no such account: undefined | the name service failed: errno */
Value account(Env env, int found, const uid_t *uid, gid_t gid, int error) {
	if (found < 0) return Napi::Number::New(env, error);
	if (!found) return env.Undefined();
	Object result = Object::New(env);
	if (uid) result.Set("uid", Napi::Number::New(env, *uid));
	result.Set("gid", Napi::Number::New(env, gid));
	return result;
}

Value UserByName(const CallbackInfo &info) {
	uid_t uid = 0;
	gid_t gid = 0;
	int error = 0;
	char *name = copy_text(info[0]);
	int found = user_by_name(name, &uid, &gid, &error);

	free(name);
	return account(info.Env(), found, &uid, gid, error);
}

Value UserById(const CallbackInfo &info) {
	gid_t gid = 0;
	int error = 0;
	int found = user_by_id(info[0].As<Napi::Number>().Uint32Value(), &gid, &error);

	return account(info.Env(), found, nullptr, gid, error);
}

Value GroupByName(const CallbackInfo &info) {
	gid_t gid = 0;
	int error = 0;
	char *name = copy_text(info[0]);
	int found = group_by_name(name, &gid, &error);

	free(name);
	return account(info.Env(), found, nullptr, gid, error);
}

/* () => the paths of libraries and addons */
Value Libraries(const CallbackInfo &info) {
	size_t size;
	char *text = list_libraries(&size);
	Napi::Array list = Napi::Array::New(info.Env());

	for (size_t at = 0; at < size; at += strlen(text + at) + 1) list.Set(list.Length(), text + at);
	free(text);
	return list;
}

/* (path) => the capabilities without which exec(2) of that file fails */
Value FileCapabilities(const CallbackInfo &info) {
	bool effective;
	char *path = copy_text(info[0]);
	uint64_t capabilities = file_capabilities(path, &effective);

	free(path);
	return Napi::BigInt::New(info.Env(), effective ? capabilities : static_cast<uint64_t>(0));
}

/* () => process numbers | errno */
Value SessionRoot(const CallbackInfo &info) {
	enum { ROOM = 1024 };
	pid_t found[ROOM];
	long count = list_session_root(found, ROOM);

	if (count < 0) return Napi::Number::New(info.Env(), errno);
	Napi::Array list = Napi::Array::New(info.Env());
	for (uint32_t i = 0; i < count && i < ROOM; i++) list.Set(i, found[i]);
	return list;
}

/* (gid) => name | undefined: there is none | errno */
Value GroupById(const CallbackInfo &info) {
	char *name;
	int error = 0;
	int found = name_of_group(info[0].As<Napi::Number>().Uint32Value(), &name, &error);

	if (found < 0) return Napi::Number::New(info.Env(), error);
	if (!found) return info.Env().Undefined();
	Value result = Napi::String::New(info.Env(), name);
	free(name);
	return result;
}

/* (uid, primary gid) => gids | errno */
Value AccountGroups(const CallbackInfo &info) {
	gid_t *groups;
	size_t count;
	int error = account_groups(info[0].As<Napi::Number>().Uint32Value(), info[1].As<Napi::Number>().Uint32Value(), &groups, &count);

	if (error) return Napi::Number::New(info.Env(), error);
	Napi::Array list = Napi::Array::New(info.Env(), count);
	for (uint32_t i = 0; i < count; i++) list.Set(i, groups[i]);
	free(groups);
	return list;
}

template <auto function>
void add(Object exports, const char *name) {
	exports.Set(name, Napi::Function::New<function>(exports.Env(), name));
}

Object Init(Env, Object exports) {
	add<Observe>(exports, "observe");
	add<Descriptors>(exports, "descriptors");
	add<OpenRoot>(exports, "openRoot");
	add<HoldSigusr1>(exports, "holdSigusr1");
	add<GiveSigusr1Back>(exports, "giveSigusr1Back");
	add<Rehearse>(exports, "rehearse");
	add<Commit>(exports, "commit");
	add<Promise>(exports, "promise");
	add<Recall>(exports, "recall");
	add<Kept>(exports, "kept");
	add<EndProcess>(exports, "endProcess");
	add<CapabilitiesFromText>(exports, "capabilitiesFromText");
	add<CapabilityNames>(exports, "capabilityNames");
	add<UserByName>(exports, "userByName");
	add<UserById>(exports, "userById");
	add<GroupByName>(exports, "groupByName");
	add<GroupById>(exports, "groupById");
	add<AccountGroups>(exports, "accountGroups");
	add<Libraries>(exports, "libraries");
	add<FileCapabilities>(exports, "fileCapabilities");
	add<SessionRoot>(exports, "sessionRoot");
	return exports;
}

}  // namespace

NODE_API_MODULE(privdrop, Init)
