/*
 * children.c - other processes that keep root: those that share this memory, and child processes that are root
 *
 * A process made with CLONE_VM and without CLONE_THREAD runs on the memory of this one and is not one of its threads:
 * its credentials would stay, and code that the new identity writes would run with them. The commit is refused while
 * there is one. A root child with memory of its own stays root, and the report names it.
 *
 * Both are looked for while every thread is parked: no thread is in a vfork(2) then, whose child shares the memory until
 * its exec.
 */
#define _GNU_SOURCE
#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 4096 };

/* Pages of the probe: the first size of which two can be mapped (RLIMIT_AS). */
enum { PROBE_LARGEST = 1 << 24, PROBE_SMALLEST = 16, WINDOWS = 24, GROWTHS = 3 };

struct search {
	int proc, tasks;
	pid_t own;
	int64_t probe; /* pages */
	struct committed *done;
	struct failure *why;
};

/* A file of a process: "4711/statm" */
static ssize_t read_of(int proc, pid_t pid, const char *name, char *text, size_t size)
{
	char path[DECIMAL_SIZE + sizeof "/children"];

	decimal(path, pid);
	memcpy(path + strlen(path), name, strlen(name) + 1);
	return read_file(proc, path, text, size);
}

/* It has ended, or is hidden (hidepid). */
static bool is_out_of_sight(int error)
{
	return error == ENOENT || error == ESRCH || error == EACCES || error == EPERM;
}

/* The pages of the address space of a process or thread; 0: it is a zombie, a kernel thread, hidden, or has ended. -1
 * with errno. */
static int64_t size_of(int proc, pid_t pid)
{
	char text[128];
	ssize_t length = read_of(proc, pid, "/statm", text, sizeof text);
	int64_t pages = 0;

	if (length < 0 && !is_out_of_sight(errno))
		return -1;
	for (ssize_t i = 0; i < length && text[i] >= '0' && text[i] <= '9'; i++)
		pages = pages * 10 + (text[i] - '0');
	return pages;
}

/* Reserves address space, of which no page is ever used. */
static void *map_probe(int64_t pages)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	return mmap(NULL, (size_t)pages * (size_t)sysconf(_SC_PAGESIZE), PROT_NONE, flags, -1, 0);
}

static void unmap_probe(void *probe, int64_t pages)
{
	munmap(probe, (size_t)pages * (size_t)sysconf(_SC_PAGESIZE));
}

/* Map a second probe here, of a size that no process can foresee, and see whether the other process grows by exactly that. A
 * process that shares this memory may also map and unmap by itself, which hides the growth in some of the windows. If it
 * cannot be seen, the memory counts as shared.
 *
 * Not kcmp(2): it waits for an execve(2) of the other process, and any user can start one that never ends. */
static bool grows_with_us(const struct search *search, pid_t pid)
{
	int grown = 0;

	for (int i = 0; i < WINDOWS && grown < GROWTHS; i++) {
		int64_t before = size_of(search->proc, pid), after, pages;
		struct timespec now;
		void *second;

		clock_gettime(CLOCK_MONOTONIC, &now);
		pages = search->probe / 2 + now.tv_nsec % (search->probe / 2);
		if ((second = map_probe(pages)) == MAP_FAILED)
			return true;
		after = size_of(search->proc, pid);
		unmap_probe(second, pages);
		if (before < 0 || after < 0)
			return true;
		grown += after - before == pages;
	}
	return grown == GROWTHS;
}

struct thread_with_memory {
	int tasks;
	pid_t tid;
	int64_t size;
};

static int find_memory(pid_t tid, void *context)
{
	struct thread_with_memory *found = context;

	found->tid = tid;
	found->size = size_of(found->tasks, tid);
	return found->size != 0;
}

/* The first thread of a process that has memory. Usually its main thread, unless that has ended (pthread_exit(3)). The size
 * is 0 if no thread has any, -1 with errno. */
static struct thread_with_memory memory_of(int proc, pid_t pid)
{
	struct thread_with_memory found = {.tid = pid, .size = size_of(proc, pid)};
	char path[DECIMAL_SIZE + sizeof "/task"];
	struct statx tasks;

	if (found.size)
		return found;
	decimal(path, pid);
	memcpy(path + strlen(path), "/task", sizeof "/task");
	/* Two links, and one for each thread (fs/proc/base.c). Most processes are kernel threads, which have one thread. */
	if (!syscall(SYS_statx, proc, path, AT_STATX_DONT_SYNC, STATX_NLINK, &tasks) && tasks.stx_nlink <= 3)
		return found;
	if ((found.tasks = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		found.size = is_out_of_sight(errno) ? 0 : -1;
		return found;
	}
	if (each_number(found.tasks, find_memory, &found) < 0 && !is_out_of_sight(errno))
		found.size = -1;
	close(found.tasks);
	return found;
}

/* 1: that process shares this memory; 0: it does not; -1 with errno. */
static int shares_memory(const struct search *search, pid_t pid)
{
	struct thread_with_memory other = memory_of(search->proc, pid);

	/* This memory holds the probe. Few others are as large, so few are looked at more closely. */
	if (other.size < search->probe)
		return other.size < 0 ? -1 : 0;
	return grows_with_us(search, other.tid);
}

static int refuse_if_shared(pid_t pid, void *context)
{
	struct search *search = context;
	int shared = pid == search->own ? 0 : shares_memory(search, pid);

	if (shared > 0)
		*search->why = (struct failure){.step = STEP_MEMORY_SHARED, .tid = pid};
	return shared;
}

static int refuse_sharing_process(struct search *search)
{
	void *two = MAP_FAILED, *probe;
	int result;

	for (search->probe = PROBE_LARGEST; search->probe >= PROBE_SMALLEST; search->probe /= 4)
		if ((two = map_probe(2 * search->probe)) != MAP_FAILED)
			break;
	if (two != MAP_FAILED)
		unmap_probe(two, 2 * search->probe); /* the second is left for grows_with_us() */
	if (two == MAP_FAILED || (probe = map_probe(search->probe)) == MAP_FAILED) {
		*search->why = (struct failure){.step = STEP_MEMORY, .error = errno};
		return 1;
	}
	result = each_number(search->proc, refuse_if_shared, search);
	unmap_probe(probe, search->probe);
	return result;
}

static int open_proc(struct search *search)
{
	if ((search->proc = openat(search->tasks, "../..", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0)
		return 0;
	*search->why = (struct failure){.step = STEP_PROC, .error = errno};
	return -1;
}

/* 1: 0 is one of its user ids, and one of its threads has not ended; 0: no, or it is hidden. -1 with errno. */
static int is_root(int proc, pid_t pid)
{
	char text[2048];
	ssize_t length = read_of(proc, pid, "/status", text, sizeof text);
	bool root = false, zombie = false;

	if (length < 0)
		return is_out_of_sight(errno) ? 0 : -1;
	for (ssize_t at = 0; at < length;) {
		const char *line = text + at;
		const char *end = memchr(line, '\n', (size_t)(length - at));

		if (!end)
			break;
		zombie |= !strncmp(line, "State:\tZ", 8);
		if (!strncmp(line, "Uid:", 4))
			for (const char *id = line + 4; id < end; id++)
				root |= id[0] == '\t' && id[1] == '0' && (id[2] == '\t' || id[2] == '\n');
		at += end - line + 1;
	}
	if (root && zombie) {
		int64_t size = memory_of(proc, pid).size;
		return size < 0 ? -1 : size > 0;
	}
	return root;
}

static int look_at_child(pid_t pid, struct search *search)
{
	struct committed *done = search->done;
	int root = done->root_child_count < ROOT_CHILDREN_MAX ? is_root(search->proc, pid) : 0;

	if (root > 0)
		done->root_children[done->root_child_count++] = pid;
	return root < 0 ? -1 : 0;
}

/* The children of one thread (proc_tid_children(5)): numbers, each followed by a space. -1 with ENOENT: this kernel
 * does not have the file. */
static int look_at_children_of(pid_t tid, void *context)
{
	struct search *search = context;
	char path[DECIMAL_SIZE + sizeof "/children"], text[CHUNK];
	ssize_t length;
	pid_t pid = 0;
	int list, error, result = 0;

	decimal(path, tid);
	memcpy(path + strlen(path), "/children", sizeof "/children");
	if ((list = openat(search->tasks, path, O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	while (!result && (length = read(list, text, sizeof text)) > 0)
		for (ssize_t i = 0; !result && i < length; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				pid = pid * 10 + (text[i] - '0');
				continue;
			}
			if (pid)
				result = look_at_child(pid, search);
			pid = 0;
		}
	error = errno;
	close(list);
	errno = error;
	return result || length < 0 ? -1 : 0;
}

/* proc_pid_stat(5); 0: the process has ended, or is hidden. -1 with errno. */
static pid_t parent_of(int proc, pid_t pid)
{
	char text[512] = "";
	ssize_t length = read_of(proc, pid, "/stat", text, sizeof text - 1);
	pid_t parent = 0;

	if (length < 0)
		return is_out_of_sight(errno) ? 0 : -1;
	/* The second field is a name in parentheses, in which any character may be; the third is a letter. */
	while (length > 0 && text[length - 1] != ')')
		length--;
	for (const char *at = text + length + sizeof " S"; *at >= '0' && *at <= '9'; at++)
		parent = parent * 10 + (*at - '0');
	return parent;
}

/* For a kernel without lists of children. */
static int look_if_child(pid_t pid, void *context)
{
	struct search *search = context;
	pid_t parent = parent_of(search->proc, pid);

	if (parent < 0)
		return -1;
	return parent == search->own ? look_at_child(pid, search) : 0;
}

int look_at_other_processes(int tasks, struct committed *done, struct failure *why)
{
	struct search search = {.tasks = tasks, .own = getpid(), .done = done, .why = why};
	int result;

	if (open_proc(&search))
		return -1;
	result = refuse_sharing_process(&search);
	if (!result && (result = each_number(tasks, look_at_children_of, &search)) < 0 && errno == ENOENT)
		result = each_number(search.proc, look_if_child, &search);
	if (result < 0)
		*why = (struct failure){.step = STEP_PROC, .error = errno};
	close(search.proc);
	return result ? -1 : 0;
}

struct session {
	int proc;
	pid_t own, session, group, *found;
	size_t room, count;
};

/* Is that process an ancestor of this one, below process 1? */
static bool is_ancestor(const struct session *session, pid_t pid)
{
	for (pid_t above = parent_of(session->proc, session->own); above > 1; above = parent_of(session->proc, above))
		if (above == pid)
			return true;
	return false;
}

/* Left out are children, ancestors, and other children of an ancestor, such as the rest of a pipeline. */
static int look_at_session(pid_t pid, void *context)
{
	struct session *session = context;
	pid_t parent;
	int root;

	if (pid == session->own || (getsid(pid) != session->session && getpgid(pid) != session->group))
		return 0;
	if ((root = is_root(session->proc, pid)) <= 0)
		return root;
	if ((parent = parent_of(session->proc, pid)) < 0)
		return -1;
	if (parent == session->own || is_ancestor(session, parent) || is_ancestor(session, pid) || pid == 1)
		return 0;
	if (session->count < session->room)
		session->found[session->count] = pid;
	session->count++;
	return 0;
}

long list_session_root(pid_t *found, size_t room)
{
	struct session session = {.own = getpid(), .session = getsid(0), .group = getpgrp(), .found = found, .room = room};
	int result;

	if ((session.proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	result = each_number(session.proc, look_at_session, &session);
	close(session.proc);
	return result ? -1 : (long)session.count;
}
