/*
 * trimmed.c - trimmed COMMAND...: runs it as root, with nothing left to drop from its bounding set
 *
 * A root program gets its inheritable set and its bounding set (capabilities(7), "Capabilities and execution of programs by
 * root"), so the first is filled before the second is trimmed.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];

	if (argc < 2 || syscall(SYS_capget, &header, data))
		return 1;
	data[0].inheritable = data[0].permitted;
	data[1].inheritable = data[1].permitted;
	if (syscall(SYS_capset, &header, data))
		return 1;
	for (long capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
		if (capability != CAP_NET_BIND_SERVICE && prctl(PR_CAPBSET_DROP, capability))
			return 1;
	execvp(argv[1], argv + 1);
	return 1;
}
