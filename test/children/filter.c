/*
 * filter.c - a program under a seccomp filter, as containers and systemd have them (seccomp(2))
 *
 *     filter NUMBER[,THIRD] ERRNO program argument...
 *
 * System call NUMBER, if its third argument is THIRD, is refused with ERRNO; if that is 0 it ends the process. Compiled by the
 * test that uses it.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
	int number = count > 3 ? atoi(words[1]) : -1;
	int error = count > 3 ? atoi(words[2]) : 0;
	const char *third = number >= 0 ? strchr(words[1], ',') : NULL;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | (third ? BPF_JEQ : BPF_JGE) | BPF_K, third ? atoi(third + 1) : 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, error ? SECCOMP_RET_ERRNO | error : SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};

	/* root needs no PR_SET_NO_NEW_PRIVS for it */
	if (number >= 0 && !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		execvp(words[3], words + 3);
	perror("filter");
	return 1;
}
