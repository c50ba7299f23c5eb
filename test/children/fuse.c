/*
 * fuse.c - a file system of one file, which stops answering when it is told to (fuse(4))
 *
 *     fuse FOLDER
 *
 * In a mount namespace of its own it mounts itself on FOLDER and prints "mounted"; its one file is 'file', which
 * anybody may use. From SIGUSR1 on it answers nothing: it prints "dead", and "asked" for each request that is left
 * waiting afterwards. It ends when its standard input does, and processes that wait for it get ENOTCONN. Compiled by
 * the test that uses it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER = 1, FILE_INSIDE = 2 };

static int device;

static void say(const char *line)
{
	if (write(STDOUT_FILENO, line, strlen(line)) < 0)
		perror("fuse: write");
}

static void answer(const struct fuse_in_header *asked, int error, const void *data, size_t size)
{
	struct {
		struct fuse_out_header header;
		char data[256];
	} out = {.header = {.len = sizeof out.header + size, .error = -error, .unique = asked->unique}};

	if (size)
		memcpy(out.data, data, size);
	if (write(device, &out, out.header.len) < 0 && errno != ENOENT) /* ENOENT: it has been interrupted */
		perror("fuse: answer");
}

static struct fuse_attr describe(uint64_t node)
{
	return (struct fuse_attr){
		.ino = node,
		.mode = node == FOLDER ? S_IFDIR | 0777 : S_IFREG | 0666,
		.nlink = 1,
		.blksize = 4096,
	};
}

static void serve(const struct fuse_in_header *asked)
{
	const char *name = (const char *)(asked + 1);
	struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
	struct fuse_entry_out entry = {.nodeid = FILE_INSIDE, .attr = describe(FILE_INSIDE)};
	struct fuse_attr_out attributes = {.attr = describe(asked->nodeid)};
	struct fuse_open_out opened = {0};
	struct fuse_write_out written = {0};

	switch (asked->opcode) {
	case FUSE_INIT:
		answer(asked, 0, &init, sizeof init);
		break;
	case FUSE_LOOKUP:
		if (strcmp(name, "file"))
			answer(asked, ENOENT, NULL, 0);
		else
			answer(asked, 0, &entry, sizeof entry);
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		answer(asked, 0, &attributes, sizeof attributes);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		answer(asked, 0, &opened, sizeof opened);
		break;
	case FUSE_WRITE:
		written.size = ((const struct fuse_write_in *)name)->size;
		answer(asked, 0, &written, sizeof written);
		break;
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer(asked, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(asked, ENOSYS, NULL, 0);
	}
}

static int is_waited_for(const struct fuse_in_header *asked)
{
	switch (asked->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return 0;
	default:
		return 1;
	}
}

static int mount_on(const char *folder)
{
	char options[128];

	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
	return device < 0 || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	               mount("fuse", folder, "fuse", MS_NOSUID | MS_NODEV, options)
	               ? -1
	               : 0;
}

int main(int count, char **words)
{
	static char request[(1 << 17) + 4096] __attribute__((aligned(8)));
	sigset_t told;
	int dead = 0;

	sigemptyset(&told);
	sigaddset(&told, SIGUSR1);
	sigprocmask(SIG_BLOCK, &told, NULL);
	if (count != 2 || mount_on(words[1])) {
		perror("fuse");
		return 1;
	}
	struct pollfd ready[] = {
		{.fd = device, .events = POLLIN},
		{.fd = signalfd(-1, &told, SFD_CLOEXEC), .events = POLLIN},
		{.fd = STDIN_FILENO, .events = POLLIN},
	};
	say("mounted\n");
	while (poll(ready, 3, -1) > 0 && !ready[2].revents) {
		if (ready[1].revents) {
			dead = 1;
			ready[1].fd = -1;
			say("dead\n");
		} else if (read(device, request, sizeof request) > 0) {
			if (!dead)
				serve((struct fuse_in_header *)request);
			else if (is_waited_for((struct fuse_in_header *)request))
				say("asked\n");
		}
	}
	return 0;
}
