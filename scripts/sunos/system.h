/*
 * system.h - as much of the interfaces of Solaris and illumos as src-native/ uses, for building on Linux only
 *
 * That system's headers cannot be had here; this file gives its manual and ABI in our own words: 64-bit, x86. It is
 * used only by scripts/prebuilds: on a real system the same sources find that system's headers.
 */
#ifndef PRIVDROP_SUNOS_SYSTEM_H
#define PRIVDROP_SUNOS_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

/* sys/types.h */
typedef int pid_t;
typedef unsigned uid_t, gid_t, uint_t, mode_t, nlink_t, socklen_t;
typedef unsigned long dev_t, ino_t;
typedef long off_t, ssize_t;
typedef int id_t;
typedef enum { B_FALSE, B_TRUE } boolean_t;

/* errno.h */
int *___errno(void);
#define errno (*___errno())
enum {
	ENOENT = 2, EINTR = 4, EBADF = 9, ECHILD = 10, ENOMEM = 12, ENOTDIR = 20, EINVAL = 22, ERANGE = 34, ENAMETOOLONG = 78,
	EOVERFLOW = 79, ENOSYS = 89, ELOOP = 90, EAFNOSUPPORT = 124,
	EADDRINUSE = 125, ETIMEDOUT = 145, ESTALE = 151
};

/* stdlib.h, string.h */
void *malloc(size_t);
void *calloc(size_t, size_t);
void *realloc(void *, size_t);
void free(void *);
_Noreturn void abort(void);
int fdwalk(int (*)(void *, int), void *);
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
int memcmp(const void *, const void *, size_t);
size_t strlen(const char *);
char *strcpy(char *restrict, const char *restrict);
char *strdup(const char *);
int strcmp(const char *, const char *);
char *strchr(const char *, int);
size_t strspn(const char *, const char *);
size_t strcspn(const char *, const char *);

/* unistd.h */
enum { STDERR_FILENO = 2, R_OK = 4, W_OK = 2, X_OK = 1, _SC_NGROUPS_MAX = 4 };
long sysconf(int);
int setuid(uid_t);
int setgid(gid_t);
int setgroups(int, const gid_t *);
int chroot(const char *);
int chdir(const char *);
int fchdir(int);
int access(const char *, int);
int faccessat(int, const char *, int, int);
char *getcwd(char *, size_t);
pid_t getpid(void);
ssize_t readlinkat(int, const char *restrict, char *restrict, size_t);
int pipe(int[2]);
int close(int);
ssize_t write(int, const void *, size_t);
_Noreturn void _exit(int);

/* sys/fork.h */
enum { FORK_NOSIGCHLD = 1, FORK_WAITPID = 2 };
pid_t forkx(int);

/* fcntl.h */
enum {
	O_RDONLY = 0, O_NONBLOCK = 0x80, O_NOCTTY = 0x800, O_NOFOLLOW = 0x20000, O_CLOEXEC = 0x800000, O_DIRECTORY = 0x1000000, F_SETFD = 2,
	FD_CLOEXEC = 1, AT_FDCWD = (int)0xffd19553, AT_SYMLINK_NOFOLLOW = 0x1000
};
int open(const char *, int, ...);
int openat(int, const char *, int, ...);
int fcntl(int, int, ...);

/* sys/stat.h */
struct stat {
	dev_t st_dev;
	ino_t st_ino;
	mode_t st_mode;
	nlink_t st_nlink;
	uid_t st_uid;
	gid_t st_gid;
	dev_t st_rdev;
	off_t st_size;
	struct {
		long seconds, nanoseconds;
	} st_atim, st_mtim, st_ctim;
	int st_blksize;
	long st_blocks;
	char st_fstype[16];
};
_Static_assert(sizeof(struct stat) == 128, "struct stat");
enum { S_IFMT = 0xF000, S_IFIFO = 0x1000, S_IFDIR = 0x4000, S_IFREG = 0x8000, S_IFSOCK = 0xC000, S_ISVTX = 01000, S_IWGRP = 020, S_IWOTH = 02 };
#define S_ISDIR(mode) (((mode) & S_IFMT) == S_IFDIR)
#define S_ISLNK(mode) (((mode) & S_IFMT) == 0xA000)
int stat(const char *restrict, struct stat *restrict);
int fstat(int, struct stat *);
int fstatat(int, const char *restrict, struct stat *restrict, int);

/* stropts.h */
int isastream(int);

/* poll.h */
struct pollfd {
	int fd;
	short events, revents;
};
enum { POLLIN = 1, POLLOUT = 4 };
int poll(struct pollfd[], unsigned long, int);

/* time.h */
struct timespec {
	long tv_sec;
	long tv_nsec;
};
int nanosleep(const struct timespec *, struct timespec *);

/* sys/mman.h */
enum { PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_ANON = 0x100 };
#define MAP_FAILED ((void *)-1)
void *mmap(void *, size_t, int, int, int, off_t);
int munmap(void *, size_t);

/* signal.h, sys/lwp.h, sys/wait.h, sys/time.h */
enum { SIGABRT = 6, SIGKILL = 9, SIGUSR1 = 16, SIG_SETMASK = 3, SA_RESTART = 4 };
typedef struct {
	unsigned bits[4];
} sigset_t;
struct sigaction {
	int sa_flags;
	void (*sa_handler)(int);
	sigset_t sa_mask;
};
_Static_assert(sizeof(struct sigaction) == 32, "struct sigaction");
#define SIG_DFL ((void (*)(int))0)
#define SIG_IGN ((void (*)(int))1)
int sigaction(int, const struct sigaction *restrict, struct sigaction *restrict);
int sigfillset(sigset_t *);
int sigemptyset(sigset_t *);
int pthread_sigmask(int, const sigset_t *restrict, sigset_t *restrict);
int kill(pid_t, int);
int _lwp_kill(int, int);
int _lwp_self(void);
typedef struct {
	long space[32];
} siginfo_t;
typedef enum { P_ALL = 7 } idtype_t;
enum { P_MYID = -1, WEXITED = 01, WNOHANG = 0100, WNOWAIT = 0200 };
#define WTERMSIG(status) ((status) & 0x7f)
#define WIFSIGNALED(status) (((status) & 0xff) > 0 && ((status) & 0xff00) == 0)
pid_t waitpid(pid_t, int *, int);
int waitid(idtype_t, id_t, siginfo_t *, int);
typedef long long hrtime_t;
hrtime_t gethrtime(void);

/* sys/resource.h */
enum { RLIMIT_NOFILE = 5 };
struct rlimit {
	unsigned long rlim_cur, rlim_max;
};
int getrlimit(int, struct rlimit *);

/* sys/socket.h, netinet/in.h */
enum {
	AF_INET = 2, AF_INET6 = 26, SOCK_STREAM = 2, SOCK_CLOEXEC = 0x80000, SOL_SOCKET = 0xffff, SO_ACCEPTCONN = 2, SO_REUSEADDR = 4,
	SO_TYPE = 0x1008, IPPROTO_IPV6 = 41, IPV6_V6ONLY = 0x27
};
struct sockaddr {
	uint16_t sa_family;
	char sa_data[14];
};
struct sockaddr_in {
	uint16_t sin_family, sin_port;
	uint32_t sin_addr;
	char sin_zero[8];
};
struct sockaddr_in6 {
	uint16_t sin6_family, sin6_port;
	uint32_t sin6_flowinfo;
	uint8_t sin6_addr[16];
	uint32_t sin6_scope_id, sin6_src_id;
};
int socket(int, int, int);
int bind(int, const struct sockaddr *, socklen_t);
int setsockopt(int, int, int, const void *, socklen_t);
int getsockopt(int, int, int, void *restrict, socklen_t *restrict);

/* pwd.h, grp.h: the POSIX functions have these names there */
struct passwd {
	char *pw_name, *pw_passwd;
	uid_t pw_uid;
	gid_t pw_gid;
	char *pw_age, *pw_comment, *pw_gecos, *pw_dir, *pw_shell;
};
_Static_assert(sizeof(struct passwd) == 64, "struct passwd");
struct group {
	char *gr_name, *gr_passwd;
	gid_t gr_gid;
	char **gr_mem;
};
int getpwnam_r(const char *, struct passwd *, char *, size_t, struct passwd **) __asm__("__posix_getpwnam_r");
int getpwuid_r(uid_t, struct passwd *, char *, size_t, struct passwd **) __asm__("__posix_getpwuid_r");
int getgrouplist(const char *, gid_t, gid_t *, int *);
int getgrgid_r(gid_t, struct group *, char *, size_t, struct group **) __asm__("__posix_getgrgid_r");
int getgrnam_r(const char *, struct group *, char *, size_t, struct group **) __asm__("__posix_getgrnam_r");

/* priv.h */
typedef struct priv_set priv_set_t;
typedef enum { PRIV_ON, PRIV_OFF, PRIV_SET } priv_op_t;
#define PRIV_EFFECTIVE "Effective"
#define PRIV_INHERITABLE "Inheritable"
#define PRIV_PERMITTED "Permitted"
#define PRIV_LIMIT "Limit"
enum { PRIV_STR_LIT = 1, PRIV_AWARE = 2, __PROC_PROTECT = 8, PRIV_XPOLICY = 0x80, PRIV_PFEXEC = 0x100 };
int setppriv(priv_op_t, const char *, const priv_set_t *);
int getppriv(const char *, priv_set_t *);
int setpflags(uint_t, uint_t);
uint_t getpflags(uint_t);
priv_set_t *priv_allocset(void);
void priv_freeset(priv_set_t *);
void priv_fillset(priv_set_t *);
boolean_t priv_isemptyset(const priv_set_t *);
boolean_t priv_isequalset(const priv_set_t *, const priv_set_t *);
boolean_t priv_ismember(const priv_set_t *, const char *);
void priv_intersect(const priv_set_t *, priv_set_t *);
boolean_t priv_issubset(const priv_set_t *, const priv_set_t *);
priv_set_t *priv_str_to_set(const char *, const char *, const char **);
char *priv_set_to_str(const priv_set_t *, char, int);

/* ucred.h */
typedef struct ucred_s ucred_t;
ucred_t *ucred_get(pid_t);
void ucred_free(ucred_t *);
uid_t ucred_getruid(const ucred_t *);
uid_t ucred_geteuid(const ucred_t *);
uid_t ucred_getsuid(const ucred_t *);
gid_t ucred_getrgid(const ucred_t *);
gid_t ucred_getegid(const ucred_t *);
gid_t ucred_getsgid(const ucred_t *);
int ucred_getgroups(const ucred_t *, const gid_t **);

#endif
