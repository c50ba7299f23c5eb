/*
 * open.c - sockets and rings that only root can open, open in a program that knows nothing of them
 *
 *     open raw|packet|uevent|route|ring|personality program argument...
 *
 * It stays open across execve(2). Compiled by the test that uses it.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Bound, as one that is used is: the kernel lists no other. */
static int netlink(int protocol)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
	int fd = socket(AF_NETLINK, SOCK_RAW, protocol);

	return bind(fd, (struct sockaddr *)&address, sizeof address) ? -1 : fd;
}

static int ring(void)
{
	struct io_uring_params params = {0};
	int fd = syscall(SYS_io_uring_setup, 8, &params);

	fcntl(fd, F_SETFD, 0);
	return fd;
}

static int ring_with_personality(void)
{
	int fd = ring();

	return syscall(SYS_io_uring_register, fd, IORING_REGISTER_PERSONALITY, NULL, 0) < 0 ? -1 : fd;
}

int main(int count, char **words)
{
	const char *what = count > 2 ? words[1] : "";
	int fd = !strcmp(what, "raw")           ? socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)
		 : !strcmp(what, "packet")      ? socket(AF_PACKET, SOCK_RAW, 0)
		 : !strcmp(what, "uevent")      ? netlink(NETLINK_KOBJECT_UEVENT)
		 : !strcmp(what, "route")       ? netlink(NETLINK_ROUTE)
		 : !strcmp(what, "ring")        ? ring()
		 : !strcmp(what, "personality") ? ring_with_personality()
						: -1;

	if (fd >= 0)
		execvp(words[2], words + 2);
	perror(what);
	return 1;
}
