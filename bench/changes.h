/*
 * changes.h - nobody with cap_net_bind_service+ep: what the kernel has to be asked for, in this order
 */
#include <grp.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534 };

/* How a call is made: syscall(2) in one thread, or libpsx in all that it knows of. */
typedef long (*caller)(long number, long a, long b, long c, long d, long e, long f);

/* To be found out once, before. */
static uint64_t bounding_to_drop(void)
{
	uint64_t drop = 0;

	for (long capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
		if (capability != CAP_NET_BIND_SERVICE && prctl(PR_CAPBSET_READ, capability))
			drop |= UINT64_C(1) << capability;
	return drop;
}

static long change(caller call, uint64_t drop)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{1 << CAP_NET_BIND_SERVICE, 1 << CAP_NET_BIND_SERVICE, 0}};

	for (long capability = 0; drop >> capability; capability++)
		if (drop >> capability & 1 && call(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0, 0))
			return -1;
	return call(SYS_setgroups, 0, 0, 0, 0, 0, 0) || call(SYS_setresgid, NOBODY, NOBODY, NOBODY, 0, 0, 0) ||
	       call(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0, 0) ||
	       call(SYS_setresuid, NOBODY, NOBODY, NOBODY, 0, 0, 0) ||
	       call(SYS_capset, (long)&header, (long)data, 0, 0, 0, 0) ||
	       call(SYS_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0, 0) ||
	       call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
}
