/*
 * addon.cc - JavaScript values to the plain structs of plan.h, and back
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

#include "plan.h"

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
	failure.Set("syscall", step_names[why.step].syscall);
	failure.Set("errno", why.error);
	failure.Set("signal", why.signo);
	failure.Set("tid", why.tid);
	failure.Set("item", why.item);
	return failure;
}

Object describe(Env env, const struct reading &reading) {
	Object result = Object::New(env);
	Napi::Array tasks = Napi::Array::New(env, reading.count);
	Napi::Array foreign = Napi::Array::New(env, reading.foreign_count);

	for (size_t i = 0; i < reading.count; i++) {
		const struct task_text &text = reading.tasks[i];
		Object task = Object::New(env);
		napi_value status = nullptr;

		napi_create_string_latin1(env, text.status, text.length, &status);
		task.Set("tid", text.tid);
		task.Set("securebits", text.securebits);
		task.Set("jailed", text.jailed);
		task.Set("status", status);
		tasks.Set(static_cast<uint32_t>(i), task);
	}
	for (size_t i = 0; i < reading.foreign_count; i++)
		foreign.Set(static_cast<uint32_t>(i), reading.foreign[i]);
	result.Set("tasks", tasks);
	result.Set("foreign", foreign);
	result.Set("dumpable", reading.dumpable);
	result.Set("parkMicroseconds", reading.park_us);
	result.Set("applyMicroseconds", reading.apply_us);
	result.Set("readMicroseconds", reading.read_us);
	return result;
}

/* What a Worker cannot read any more, because it is being terminated, is undefined: an empty Value, as Object::Get() gives
 * it, would end the process when it is looked at. */
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

uint64_t mask_at(const Object &object, const char *name) {
	bool lossless;
	return get(object, name).As<Napi::BigInt>().Uint64Value(&lossless);
}

/* The place of a name in step_names, from there on. A name that does not exist is a broken contract; none at all is what a
 * Worker gets that is being terminated. */
enum step step_at(const Value &value, int step, int last) {
	char *name = copy_text(value);
	while (*name && strcmp(name, step_names[step].step))
		if (++step > last) Napi::Error::Fatal("privdrop", "a plan has a step that does not exist");
	step = *name ? step : STEP_NONE;
	free(name);
	return static_cast<enum step>(step);
}

/* free_attempts() of it. */
struct attempt *read_attempts(const Napi::Array &from) {
	struct attempt *attempts = static_cast<struct attempt *>(calloc(from.Length() + 1, sizeof *attempts));
	if (!attempts) abort();
	for (uint32_t i = 0; i < from.Length(); i++) {
		Object attempt = get(from, i).As<Object>();
		attempts[i].step = step_at(get(attempt, "step"), STEP_READ, STEP_BIND);
		attempts[i].path = copy_text(get(attempt, "path"));
		attempts[i].port = static_cast<uint16_t>(get(attempt, "port").As<Napi::Number>().Uint32Value());
	}
	return attempts;
}

void free_attempts(const struct plan &plan) {
	for (size_t i = 0; i < plan.attempt_count; i++) free(const_cast<char *>(plan.attempts[i].path));
	free(const_cast<struct attempt *>(plan.attempts));
}

/* The memory of before and groups stays JavaScript's; both outlive the call that they are read in. */
struct plan read_plan(const Object &from) {
	struct plan plan = {};
	Napi::Array steps = get(from, "steps").As<Napi::Array>();
	Napi::Array attempts = get(from, "attempts").As<Napi::Array>();
	Napi::Uint32Array groups = get(from, "groups").As<Napi::Uint32Array>();

	for (uint32_t i = 0; i < steps.Length(); i++)
		plan.steps |= 1u << step_at(get(steps, i), STEP_CHROOT, STEP_NO_NEW_PRIVS);
	plan.attempts = read_attempts(attempts);
	plan.attempt_count = attempts.Length();
	plan.uid = get(from, "uid").As<Napi::Number>().Uint32Value();
	plan.gid = get(from, "gid").As<Napi::Number>().Uint32Value();
	plan.groups = groups.Data();
	plan.group_count = groups.ElementLength();
	plan.sets.permitted = mask_at(from, "permitted");
	plan.sets.effective = mask_at(from, "effective");
	plan.sets.inheritable = mask_at(from, "inheritable");
	plan.sets.ambient = mask_at(from, "ambient");
	plan.bounding_drop = mask_at(from, "boundingDrop");
	plan.root = get(from, "root").As<Napi::Number>().Int32Value();
	plan.keep_sigusr1 = get(from, "keepSigusr1").As<Napi::Boolean>();
	/* Last: who could read this could read all of it. */
	plan.before = static_cast<struct credentials *>(get(from, "before").As<Napi::ArrayBuffer>().Data());
	return plan;
}

/* () => { status, securebits, credentials } | failure */
Value Observe(const CallbackInfo &info) {
	struct credentials *own;
	struct failure why;
	char *status;

	if (observe_main(&own, &status, &why)) return describe(info.Env(), why);

	size_t size = sizeof *own + own->group_count * sizeof(gid_t);
	void *copy = nullptr;
	napi_value text = nullptr, credentials = nullptr;
	napi_create_string_latin1(info.Env(), status, NAPI_AUTO_LENGTH, &text);

	Object result = Object::New(info.Env());
	result.Set("status", text);
	result.Set("securebits", own->securebits);
	/* It fails in a Worker that is being terminated. */
	if (napi_create_arraybuffer(info.Env(), size, &copy, &credentials) == napi_ok) {
		memcpy(copy, own, size);
		result.Set("credentials", credentials);
	}
	free(own);
	free(status);
	return result;
}

/* (root) => { descriptor, kind }[] | failure */
Value Descriptors(const CallbackInfo &info) {
	static const char *const kinds[] = {"plain", "ring", "directory", "listens", "raw", "packet", "netlink"}; /* enum descriptor_kind */
	int root = info[0].As<Napi::Number>().Int32Value();
	struct descriptor *found = nullptr;
	struct failure why;
	long room = 0, count;

	while ((count = list_descriptors(root, found, room, &why)) > room) {
		free(found);
		room = count;
		if (!(found = static_cast<struct descriptor *>(calloc(room, sizeof *found)))) abort();
	}
	Napi::Array list = Napi::Array::New(info.Env());
	for (long i = 0; i < count; i++) {
		Object entry = Object::New(info.Env());
		entry.Set("descriptor", found[i].number);
		entry.Set("kind", kinds[found[i].kind]);
		list.Set(static_cast<uint32_t>(i), entry);
	}
	free(found);
	if (count < 0) return describe(info.Env(), why);
	return list;
}

/* () => boolean */
Value HasChildren(const CallbackInfo &info) { return Napi::Boolean::New(info.Env(), has_children()); }

/* (plan) => reading of the child | failure */
Value Rehearse(const CallbackInfo &info) {
	struct plan plan = read_plan(info[0].As<Object>());
	struct reading reading = {};
	struct failure why = {};

	if (!plan.before) {
		free_attempts(plan);
		return info.Env().Undefined();
	}
	int refused = rehearse(&plan, &reading, &why);
	free_attempts(plan);
	if (refused) return describe(info.Env(), why);
	Object result = describe(info.Env(), reading);
	release_reading(&reading);
	return result;
}

/* (stat) => { tid, name, user, group, groups, ... root, inside }[] | failure */
Value AskEveryThread(const CallbackInfo &info) {
	Env env = info.Env();
	struct failure why;

	if (ask_every_thread(info[0].As<Napi::Number>().Int32Value(), &why)) return describe(env, why);
	Napi::Array threads = Napi::Array::New(env);
	const struct self_report *self;
	for (uint32_t i = 0; (self = asked_thread(i)); i++) {
		Object thread = Object::New(env);
		Napi::Array user = Napi::Array::New(env), group = Napi::Array::New(env), groups = Napi::Array::New(env);
		for (uint32_t id = 0; id < 4; id++) {
			user.Set(id, self->own->uid[id]);
			group.Set(id, self->own->gid[id]);
		}
		for (uint32_t id = 0; id < self->own->group_count; id++) groups.Set(id, self->own->groups[id]);
		thread.Set("tid", self->tid);
		thread.Set("name", self->name);
		thread.Set("user", user);
		thread.Set("group", group);
		thread.Set("groups", groups);
		thread.Set("permitted", Napi::BigInt::New(env, self->own->sets.permitted));
		thread.Set("effective", Napi::BigInt::New(env, self->own->sets.effective));
		thread.Set("inheritable", Napi::BigInt::New(env, self->own->sets.inheritable));
		thread.Set("bounding", Napi::BigInt::New(env, self->own->sets.bounding));
		thread.Set("ambient", Napi::BigInt::New(env, self->own->sets.ambient));
		thread.Set("securebits", self->own->securebits);
		thread.Set("noNewPrivileges", Napi::Boolean::New(env, self->own->no_new_privs));
		thread.Set("rootDevice", Napi::BigInt::New(env, self->root_device));
		thread.Set("rootInode", Napi::BigInt::New(env, self->root_inode));
		thread.Set("inside", Napi::Boolean::New(env, self->inside));
		threads.Set(i, thread);
	}
	forget_threads();
	return threads;
}

/* What the process is to remember, in whatever thread it is asked again. Once; it is never freed. */
std::atomic<char *> memory;

/* (text) => undefined */
void Remember(const CallbackInfo &info) { memory.store(copy_text(info[0])); }

/* () => text | undefined */
Value Recall(const CallbackInfo &info) {
	const char *text = memory.load();
	if (!text) return info.Env().Undefined();
	return Napi::String::New(info.Env(), text);
}

/* What a function that must not fail has thrown, as the last line of this process. */
[[noreturn]] void end_with_exception(Env env) {
	static const char head[] = "privdrop: fatal: ";
	char line[512];
	size_t length = 0;
	napi_value exception, message;

	memcpy(line, head, sizeof head - 1);
	char *text = line + sizeof head - 1;
	size_t room = sizeof line - sizeof head;
	if (napi_get_and_clear_last_exception(env, &exception) != napi_ok ||
	    napi_get_named_property(env, exception, "message", &message) != napi_ok ||
	    napi_get_value_string_utf8(env, message, text, room, &length) != napi_ok || length == 0) {
		static const char unknown[] = "the kernel's answer could not be compared with the plan";
		memcpy(text, unknown, sizeof unknown);
		length = sizeof unknown - 1;
	}
	for (size_t i = 0; i < length; i++)
		if (static_cast<unsigned char>(text[i]) < ' ') text[i] = ' '; /* one line */
	text[length] = '\n';
	end_process(line, text + length + 1 - line);
}

/* (plan, verify: (reading) => T) => T | failure. Whatever keeps verify from returning ends the process. */
Value Commit(const CallbackInfo &info) {
	struct plan plan = read_plan(info[0].As<Object>());
	struct reading reading = {};
	struct failure why = {};
	napi_value result;

	if (!plan.before) {
		free_attempts(plan);
		return info.Env().Undefined();
	}
	int refused = commit(&plan, &reading, &why);
	free_attempts(plan);
	if (refused) return describe(info.Env(), why);

	Object found = describe(info.Env(), reading);
	napi_value argument = found;
	if (napi_call_function(info.Env(), info.Env().Undefined(), info[1], 1, &argument, &result) != napi_ok)
		end_with_exception(info.Env());
	release_reading(&reading);
	return Value(info.Env(), result);
}

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

template <auto function>
void add(Object exports, const char *name) {
	exports.Set(name, Napi::Function::New<function>(exports.Env(), name));
}

Object Init(Env, Object exports) {
	add<Observe>(exports, "observe");
	add<Descriptors>(exports, "descriptors");
	add<HasChildren>(exports, "hasChildren");
	add<Rehearse>(exports, "rehearse");
	add<Commit>(exports, "commit");
	add<AskEveryThread>(exports, "askEveryThread");
	add<Remember>(exports, "remember");
	add<Recall>(exports, "recall");
	add<CapabilitiesFromText>(exports, "capabilitiesFromText");
	add<CapabilityNames>(exports, "capabilityNames");
	add<UserByName>(exports, "userByName");
	add<UserById>(exports, "userById");
	add<GroupByName>(exports, "groupByName");
	return exports;
}

}  // namespace

NODE_API_MODULE(privdrop, Init)
