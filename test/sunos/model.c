/*
 * model.c - libc.so.1 of illumos as far as the addon asks it, for Linux
 *
 * Written from the manual pages and sources of illumos (ppriv.c, uid.c, priv.c, priv_str_xlate.c). Preloaded into a Node of
 * Linux it stands before glibc: what the addon (any *.node) calls is answered from a record of one process's credentials, in
 * that system's layouts and numbers; calls from elsewhere are passed on. Ids, groups and root of the real process never
 * change, and no port is bound. It is a model: it shows that the addon keeps to these rules, not that illumos does.
 *
 * By the environment:
 *     SUNOS_MODEL_LOG      a file: each call of the addon, one a line; those of a forked child begin with "child "
 *     SUNOS_MODEL_ZONE     global, shared or exclusive (a zone without and with its own IP stack); after a comma what limitpriv= adds
 *     SUNOS_MODEL_UID      who the process is at first; not 0: with the basic set alone
 *     SUNOS_MODEL_START    the privileges= and, after a blank, the limit_privileges= with which SMF starts it (smf_method(7))
 *     SUNOS_MODEL_NGROUPS  how many groups there may be
 *     SUNOS_MODEL_FILES    the hard limit on open files
 *     SUNOS_MODEL_FLAGS    process flags at first: PRIV_PFEXEC 0x100, PRIV_XPOLICY 0x80
 *     SUNOS_MODEL_FAIL     call=answer;...: what a line of the log that begins so is answered: a number of Linux' errno, hang,
 *                          kill, or lie (done, and nothing is); with parent: or child: in front only there
 *     SUNOS_MODEL_HOST     whoever calls is the addon, in Linux' layouts: for a program with the core in it
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- privileges ---- */

typedef unsigned __int128 bits;
typedef struct priv_set {
	bits in;
} priv_set_t;

/* 85 have names; "all" is every bit of a set, with a name or without (policy.c). */
enum { BITS = 96 };
static const char *const names[] = {
	"contract_event", "contract_identity", "contract_observer", "cpc_cpu", "dtrace_kernel", "dtrace_proc",
	"dtrace_user", "file_chown", "file_chown_self", "file_dac_execute", "file_dac_read", "file_dac_search",
	"file_dac_write", "file_downgrade_sl", "file_flag_set", "file_link_any", "file_owner", "file_read",
	"file_setid", "file_upgrade_sl", "file_write", "graphics_access", "graphics_map", "ipc_dac_read",
	"ipc_dac_write", "ipc_owner", "net_access", "net_bindmlp", "net_icmpaccess", "net_mac_aware",
	"net_mac_implicit", "net_observability", "net_privaddr", "net_rawaccess", "proc_audit", "proc_chroot",
	"proc_clock_highres", "proc_exec", "proc_fork", "proc_info", "proc_lock_memory", "proc_meminfo",
	"proc_owner", "proc_priocntl", "proc_prioup", "proc_secflags", "proc_session", "proc_setid", "proc_taskid",
	"proc_zone", "sys_acct", "sys_admin", "sys_audit", "sys_config", "sys_devices", "sys_dl_config",
	"sys_ip_config", "sys_ipc_config", "sys_iptun_config", "sys_linkdir", "sys_mount", "sys_net_config",
	"sys_nfs", "sys_ppp_config", "sys_res_bind", "sys_res_config", "sys_resource", "sys_smb", "sys_suser_compat",
	"sys_time", "sys_trans_label", "virt_manage", "win_colormap", "win_config", "win_dac_read", "win_dac_write",
	"win_devices", "win_dga", "win_downgrade_sl", "win_fontpath", "win_mac_read", "win_mac_write",
	"win_selection", "win_upgrade_sl", "xvm_control",
};
enum { PRIVILEGES = sizeof names / sizeof *names };
_Static_assert(PRIVILEGES == 85, "as many as illumos names");
#define ALL ((((bits)1) << BITS) - 1)

static int find(const char *name, size_t length)
{
	if (length > 5 && !strncasecmp(name, "priv_", 5)) {
		name += 5;
		length -= 5;
	}
	for (int i = 0; i < PRIVILEGES; i++)
		if (strlen(names[i]) == length && !strncasecmp(names[i], name, length))
			return i;
	return -1;
}

static bits one(const char *name)
{
	int found = find(name, strlen(name));

	if (found < 0)
		abort();
	return (bits)1 << found;
}

static bits basic(void)
{
	return one("file_link_any") | one("file_read") | one("file_write") | one("net_access") | one("proc_exec") |
	       one("proc_fork") | one("proc_info") | one("proc_secflags") | one("proc_session");
}

/* "shared" or "exclusive" are what a zone has by default; "shared,net_rawaccess" is limitpriv="default,net_rawaccess". */
static bits zone(void)
{
	static const char *const by_default[] = {
		"contract_event", "contract_identity", "contract_observer", "file_chown", "file_chown_self", "file_dac_execute",
		"file_dac_read", "file_dac_search", "file_dac_write", "file_owner", "file_setid", "ipc_dac_read", "ipc_dac_write",
		"ipc_owner", "net_bindmlp", "net_icmpaccess", "net_mac_aware", "net_observability", "net_privaddr", "proc_audit",
		"proc_chroot", "proc_lock_memory", "proc_owner", "proc_setid", "proc_taskid", "sys_acct", "sys_admin", "sys_audit",
		"sys_mount", "sys_nfs", "sys_resource", "sys_smb",
	};
	char copy[200], *rest = copy, *word;
	bits in = basic();

	snprintf(copy, sizeof copy, "%s", getenv("SUNOS_MODEL_ZONE") ? getenv("SUNOS_MODEL_ZONE") : "global");
	if (!strcmp(word = strsep(&rest, ","), "global"))
		return ALL;
	for (size_t i = 0; i < sizeof by_default / sizeof *by_default; i++)
		in |= one(by_default[i]);
	if (!strcmp(word, "exclusive"))
		in |= one("net_rawaccess") | one("sys_ip_config") | one("sys_iptun_config") | one("sys_ppp_config");
	while ((word = strsep(&rest, ",")))
		in |= one(word);
	return in;
}

/* ---- the process ---- */

enum { E, I, P, L, SETS, GROUPS = 1024 };
enum { AWARE = 0x2, PROTECT = 0x8, XPOLICY = 0x80, PFEXEC = 0x100 };
static struct {
	uid_t user[3];
	gid_t group[3];
	int group_count, groups_max;
	gid_t groups[GROUPS];
	bool aware, child;
	unsigned flags;
	bits sets[SETS];
	int root; /* what chroot has made the root, open; or -1 */
	pid_t pid;
} self = {.root = -1};

/* A process that is not aware of privileges has those of uid 0 as long as it is uid 0 (priv.c). */
static bits held(int set)
{
	bool some = !self.user[0] || !self.user[1] || !self.user[2];

	if (!self.aware && ((set == E && !self.user[1]) || (set == P && some)))
		return self.sets[set] | self.sets[L];
	return self.sets[set];
}

static bool has(const char *name)
{
	return (held(E) & one(name)) != 0;
}

static void become_aware(void)
{
	self.sets[E] = held(E);
	self.sets[P] = held(P);
	self.aware = true;
}

static int by_number(const void *a, const void *b)
{
	return *(const gid_t *)a < *(const gid_t *)b ? -1 : *(const gid_t *)a > *(const gid_t *)b;
}

/* The kernel keeps them sorted (groups.c). */
static void keep_groups(int count, const gid_t *groups)
{
	memcpy(self.groups, groups, (size_t)count * sizeof *groups);
	qsort(self.groups, (size_t)count, sizeof *groups, by_number);
	self.group_count = count;
}

static bool from_text(const char *text, const char *separators, const char **bad, bits *in);

/* As svc.startd leaves a method (librestart.c) and exec(2) makes it: aware of privileges as long as the sets are not those of its ids. */
static void start_method(const char *start)
{
	char copy[400], *limit = copy, *text;
	const char *bad;

	snprintf(copy, sizeof copy, "%s", start);
	text = strsep(&limit, " ");
	if (!from_text(text, ",", &bad, &self.sets[I]) || (limit && !from_text(limit, ",", &bad, &self.sets[L])))
		abort();
	self.sets[E] = self.sets[P] = self.sets[I] &= self.sets[L];
	self.aware = !self.user[0] && self.sets[I] != self.sets[L];
}

/* Also for a program that plays several processes in turn. */
void model_start(void)
{
	const char *uid = getenv("SUNOS_MODEL_UID"), *max = getenv("SUNOS_MODEL_NGROUPS"), *flags = getenv("SUNOS_MODEL_FLAGS");
	const char *start = getenv("SUNOS_MODEL_START");
	uid_t who = uid ? (uid_t)atoi(uid) : 0;

	memset(&self, 0, sizeof self);
	for (int i = 0; i < 3; i++)
		self.user[i] = self.group[i] = who;
	keep_groups(2, (gid_t[]){who, 12});
	self.flags = flags ? (unsigned)strtoul(flags, NULL, 0) : 0;
	self.groups_max = max ? atoi(max) : 16;
	self.sets[E] = self.sets[I] = self.sets[P] = basic() & zone();
	self.sets[L] = zone();
	self.root = -1;
	self.pid = getpid();
	if (start)
		start_method(start);
}

/* ---- who calls, and what is to be answered ---- */

#define CALLER __builtin_return_address(0)
enum caller { STRANGER, HOST, ADDON };

static enum caller who(void *address)
{
	Dl_info info;
	size_t length;

	if (getenv("SUNOS_MODEL_HOST"))
		return HOST;
	if (!dladdr(address, &info) || !info.dli_fname || (length = strlen(info.dli_fname)) < 5)
		return STRANGER;
	return strcmp(info.dli_fname + length - 5, ".node") ? STRANGER : ADDON;
}

static void note(const char *line)
{
	const char *path = getenv("SUNOS_MODEL_LOG");
	char text[600];
	int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
	int length = snprintf(text, sizeof text, "%s%s\n", self.child ? "child " : "", line);

	if (file >= 0) {
		syscall(SYS_write, file, text, length);
		syscall(SYS_close, file);
	}
}

/* The first line of a log, which only the model writes. */
__attribute__((constructor)) static void load(void)
{
	model_start();
	note("model");
}

/* 0: go on; 1: say that it is done; -1: errno */
static int answer(const char *line)
{
	char *list = getenv("SUNOS_MODEL_FAIL"), copy[512], *rest = copy, *rule;

	snprintf(copy, sizeof copy, "%s", list ? list : "");
	while ((rule = strsep(&rest, ";"))) {
		char *value = strchr(rule, '=');
		bool elsewhere = (!strncmp(rule, "child:", 6) && !self.child) || (!strncmp(rule, "parent:", 7) && self.child);

		if (!strncmp(rule, "child:", 6) || !strncmp(rule, "parent:", 7))
			rule = strchr(rule, ':') + 1;
		if (!value || elsewhere || strncmp(line, rule, (size_t)(value - rule)))
			continue;
		if (!strcmp(++value, "lie"))
			return 1;
		if (!strcmp(value, "kill"))
			syscall(SYS_kill, (int)syscall(SYS_getpid), SIGKILL);
		while (!strcmp(value, "hang") || !strcmp(value, "kill"))
			pause();
		errno = atoi(value);
		return -1;
	}
	return 0;
}

__attribute__((format(printf, 1, 2))) static int called(const char *format, ...)
{
	char line[512];
	va_list values;

	va_start(values, format);
	vsnprintf(line, sizeof line, format, values);
	va_end(values);
	note(line);
	return answer(line);
}

static int refuse(int error)
{
	errno = error;
	return -1;
}

#define BEFORE(...)                                                                                                    \
	do {                                                                                                           \
		int said = called(__VA_ARGS__);                                                                        \
		if (said)                                                                                              \
			return said < 0 ? -1 : 0;                                                                      \
	} while (0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* errno of illumos (sys/errno.h): as on Linux up to 34 */
static int translated(int error)
{
	static const int table[][2] = {
		{EDEADLK, 45}, {ENOSYS, 89}, {ELOOP, 90}, {ENOTEMPTY, 93}, {ENAMETOOLONG, 78}, {EOVERFLOW, 79}, {ENOTSOCK, 95},
		{ENOTSUP, 48}, {EAFNOSUPPORT, 124}, {EADDRINUSE, 125}, {EADDRNOTAVAIL, 126}, {ETIMEDOUT, 145}, {ESTALE, 151},
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (table[i][0] == error)
			return table[i][1];
	return error;
}

/* What the addon itself has written there stays until a call fails; glibc's own is emptied, so that one that fails alike is seen. */
int *___errno(void)
{
	static __thread int shown;

	if (errno) {
		shown = translated(errno);
		errno = 0;
	}
	return &shown;
}

/* ---- ids (uid.c, gid.c, groups.c) ---- */

static bool may_set_user(uid_t uid)
{
	if (uid == 0 && self.user[0] && self.user[1] && self.user[2])
		return (zone() & ~held(E)) == 0;
	return has("proc_setid");
}

int setuid(uid_t uid)
{
	if (who(CALLER) == STRANGER)
		return REAL(setuid)(uid);
	BEFORE("setuid %u", uid);
	if (uid > INT32_MAX)
		return refuse(EINVAL);
	if (!may_set_user(uid)) {
		if (uid != self.user[0] && uid != self.user[2])
			return refuse(EPERM);
		self.user[1] = uid;
		return 0;
	}
	if (uid != self.user[0])
		self.flags &= ~PFEXEC;
	for (int i = 0; i < 3; i++)
		self.user[i] = uid;
	return 0;
}

int setgid(gid_t gid)
{
	if (who(CALLER) == STRANGER)
		return REAL(setgid)(gid);
	BEFORE("setgid %u", gid);
	if (!has("proc_setid")) {
		if (gid != self.group[0] && gid != self.group[2])
			return refuse(EPERM);
		self.group[1] = gid;
		return 0;
	}
	for (int i = 0; i < 3; i++)
		self.group[i] = gid;
	return 0;
}

int model_setgroups(int count, const gid_t *groups)
{
	char list[400] = "";

	for (int i = 0; i < count && i < 30; i++)
		snprintf(list + strlen(list), 12, " %u", groups[i]);
	BEFORE("setgroups %d%s", count, list);
	if (count < 0 || count > self.groups_max)
		return refuse(EINVAL);
	if (!has("proc_setid"))
		return refuse(EPERM);
	keep_groups(count, groups);
	return 0;
}

int setgroups(size_t count, const gid_t *groups)
{
	if (who(CALLER) == STRANGER)
		return ((int (*)(size_t, const gid_t *))dlsym(RTLD_NEXT, "setgroups"))(count, groups);
	return model_setgroups((int)count, groups);
}

typedef struct ucred_s ucred_t;
struct ucred_s {
	uid_t user[3];
	gid_t group[3];
	int count;
	gid_t groups[GROUPS];
};

ucred_t *ucred_get(pid_t pid)
{
	ucred_t *own;

	if (called("ucred_get"))
		return NULL;
	if (pid != -1 || !(own = calloc(1, sizeof *own)))
		return NULL;
	memcpy(own->user, self.user, sizeof own->user);
	memcpy(own->group, self.group, sizeof own->group);
	memcpy(own->groups, self.groups, sizeof own->groups);
	own->count = answer("ucred_getgroups") ? GROUPS : self.group_count;
	return own;
}
void ucred_free(ucred_t *own) { free(own); }
uid_t ucred_getruid(const ucred_t *own) { return own->user[0]; }
uid_t ucred_geteuid(const ucred_t *own) { return own->user[1]; }
uid_t ucred_getsuid(const ucred_t *own) { return answer("ucred_getsuid") ? (uid_t)-1 : own->user[2]; }
gid_t ucred_getrgid(const ucred_t *own) { return own->group[0]; }
gid_t ucred_getegid(const ucred_t *own) { return own->group[1]; }
gid_t ucred_getsgid(const ucred_t *own) { return own->group[2]; }
int ucred_getgroups(const ucred_t *own, const gid_t **groups)
{
	*groups = own->count ? own->groups : NULL;
	return own->count;
}

/* ---- sets (ppriv.c) ---- */

static int set_of(const char *name)
{
	static const char *const sets[SETS] = {"Effective", "Inheritable", "Permitted", "Limit"};

	for (int i = 0; i < SETS; i++)
		if (!strcasecmp(sets[i], name))
			return i;
	return -1;
}

char *priv_set_to_str(const priv_set_t *set, char separator, int flag)
{
	size_t length = 0;
	char text[4096];

	if (answer("priv_set_to_str"))
		return NULL;
	if (!set->in)
		return strdup("none");
	if (flag != 1)
		abort(); /* PRIV_STR_LIT is what the addon asks for */
	for (int i = 0; i < PRIVILEGES; i++)
		if (set->in >> i & 1)
			length += (size_t)snprintf(text + length, sizeof text - length, "%s%c", names[i], separator);
	text[length - 1] = '\0';
	return strdup(text);
}

int setppriv(int operation, const char *which, const priv_set_t *set)
{
	int to = set_of(which);
	char *text = set->in == ALL ? strdup("all") : priv_set_to_str(set, ',', 1);
	int said = called("setppriv %s %.400s", which, text);

	free(text);
	if (said)
		return said < 0 ? -1 : 0;
	if (operation != 2 || to < 0)
		return refuse(EINVAL);
	if ((to == L && set->in & ~self.sets[L]) || (set->in & ~held(P) && set->in & ~held(to)))
		return refuse(EPERM);
	if (to != I)
		become_aware();
	self.sets[to] = set->in;
	if (to == P)
		self.sets[E] &= set->in;
	return 0;
}

int getppriv(const char *which, priv_set_t *set)
{
	int from = set_of(which);

	BEFORE("getppriv %s", which);
	if (from < 0)
		return refuse(EINVAL);
	set->in = held(from);
	return 0;
}

int setpflags(unsigned flag, unsigned value)
{
	BEFORE("setpflags %#x %u", flag, value);
	if (value > 1 || (flag != AWARE && flag != PROTECT && flag != XPOLICY && flag != PFEXEC))
		return refuse(EINVAL);
	if (flag == AWARE && value)
		become_aware();
	else if (flag != PROTECT)
		self.flags = value ? self.flags | flag : self.flags & ~flag;
	return 0;
}

/* __PROC_PROTECT can be set, not asked for. */
unsigned getpflags(unsigned flag)
{
	if (called("getpflags %#x", flag) < 0)
		return (unsigned)-1;
	if (flag != AWARE && flag != XPOLICY && flag != PFEXEC)
		return (unsigned)refuse(EINVAL);
	return flag == AWARE ? self.aware : (self.flags & flag) != 0;
}

priv_set_t *priv_allocset(void) { return answer("priv_allocset") ? NULL : calloc(1, sizeof(priv_set_t)); }
void priv_freeset(priv_set_t *set) { free(set); }
void priv_fillset(priv_set_t *set) { set->in = ALL; }
void priv_intersect(const priv_set_t *one, priv_set_t *both) { both->in &= one->in; }
int priv_isemptyset(const priv_set_t *set) { return !set->in; }
int priv_isfullset(const priv_set_t *set) { return set->in == ALL; }
int priv_isequalset(const priv_set_t *one, const priv_set_t *other) { return one->in == other->in; }
int priv_issubset(const priv_set_t *inner, const priv_set_t *outer) { return !(inner->in & ~outer->in); }
int priv_ismember(const priv_set_t *set, const char *name)
{
	int found = find(name, strlen(name));

	return found >= 0 && (set->in >> found & 1);
}

static bool from_text(const char *text, const char *separators, const char **bad, bits *in)
{
	*in = 0;
	for (const char *at = text + strspn(text, separators); *at;) {
		size_t length = strcspn(at, separators);
		bool off = *at == '-' || *at == '!', sign = off || *at == '+';
		int found = find(at + sign, length - sign);

		if (length == 5 && !strncasecmp(at, "basic", 5)) {
			*in |= basic();
		} else if (length == 4 && !strncasecmp(at, "zone", 4)) {
			*in |= zone();
		} else if (length == 4 && !strncasecmp(at, "none", 4)) {
			*in = 0;
		} else if (length == 3 && !strncasecmp(at, "all", 3)) {
			*in = ALL;
		} else if (found < 0) {
			*bad = at;
			return false;
		} else {
			*in = off ? *in & ~((bits)1 << found) : *in | (bits)1 << found;
		}
		at += length;
		at += strspn(at, separators);
	}
	return true;
}

priv_set_t *priv_str_to_set(const char *text, const char *separators, const char **end)
{
	bits in;
	priv_set_t *set;

	*end = NULL;
	if (answer("priv_str_to_set"))
		return NULL;
	if (!from_text(text, separators, end, &in)) {
		errno = EINVAL;
		return NULL;
	}
	if ((set = calloc(1, sizeof *set)))
		set->in = in;
	return set;
}

/* ---- files, and the root directory that is not really changed ---- */

static int at_root(const char **path)
{
	if (self.root < 0 || **path != '/')
		return AT_FDCWD;
	*path = (*path)[1] ? *path + 1 : ".";
	return self.root;
}

int chroot(const char *path)
{
	if (who(CALLER) == STRANGER)
		return REAL(chroot)(path);
	BEFORE("chroot %s", path);
	if (!has("proc_chroot"))
		return refuse(EPERM);
	int from = at_root(&path);
	self.root = openat(from, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return self.root < 0 ? -1 : 0;
}

int chdir(const char *path)
{
	int folder;

	if (who(CALLER) == STRANGER)
		return REAL(chdir)(path);
	BEFORE("chdir %s", path);
	if (at_root(&path) == AT_FDCWD)
		return (int)syscall(SYS_chdir, path);
	if ((folder = openat(self.root, path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	syscall(SYS_fchdir, folder);
	return close(folder);
}

int fchdir(int folder)
{
	if (who(CALLER) == STRANGER)
		return REAL(fchdir)(folder);
	BEFORE("fchdir");
	return (int)syscall(SYS_fchdir, folder);
}

/* AT_FDCWD */
static int folder_of(enum caller caller, int folder)
{
	return caller == ADDON && folder == (int)0xffd19553 ? AT_FDCWD : folder;
}

/* getcwd(2): from the root of the process; what is not below it has no path. */
char *getcwd(char *path, size_t size)
{
	enum caller caller = who(CALLER);
	char link[40], root[4096] = "", here[4096];
	size_t length;

	if (caller == STRANGER || self.root < 0)
		return REAL(getcwd)(path, size);
	if (called("getcwd"))
		return NULL;
	snprintf(link, sizeof link, "/proc/self/fd/%d", self.root);
	if (readlink(link, root, sizeof root - 1) < 0 || !REAL(getcwd)(here, sizeof here))
		return NULL;
	length = strlen(root);
	if (strncmp(here, root, length) || (here[length] && here[length] != '/')) {
		errno = ENOENT;
		return NULL;
	}
	snprintf(path, size, "%s", here[length] ? here + length : "/");
	return path;
}

struct solaris_stat {
	uint64_t device, inode;
	uint32_t mode, links, uid, gid;
	uint64_t special;
	int64_t size, times[6];
	int32_t block;
	int64_t blocks;
	char type[16];
};

static int as_solaris(int result, const struct stat *from, int file, void *to)
{
	struct solaris_stat found = {
		.device = from->st_dev, .inode = from->st_ino, .mode = from->st_mode, .uid = from->st_uid, .gid = from->st_gid};
	struct statfs system;

	if (file >= 0 && !fstatfs(file, &system) && system.f_type == PROC_SUPER_MAGIC)
		strcpy(found.type, "proc");
	if (!result)
		memcpy(to, &found, sizeof found);
	return result;
}

int fstatat(int folder, const char *path, struct stat *found, int flags)
{
	enum caller caller = who(CALLER);
	struct stat here;

	if (caller != ADDON)
		return (int)syscall(SYS_newfstatat, folder, path, found, flags);
	return as_solaris((int)syscall(SYS_newfstatat, folder_of(caller, folder), path, &here, flags ? AT_SYMLINK_NOFOLLOW : 0), &here, -1, found);
}

int stat(const char *path, struct stat *found)
{
	enum caller caller = who(CALLER);
	struct stat here;

	if (caller == ADDON)
		BEFORE("stat %s", path);
	int from = caller == STRANGER ? AT_FDCWD : at_root(&path);
	int result = (int)syscall(SYS_newfstatat, from, path, &here, 0);
	if (caller == ADDON)
		return as_solaris(result, &here, -1, found);
	if (!result)
		*found = here;
	return result;
}

int fstat(int file, struct stat *found)
{
	struct stat here;

	if (who(CALLER) == STRANGER)
		return REAL(fstat)(file, found);
	BEFORE("fstat %d", file);
	if (who(CALLER) == HOST)
		return REAL(fstat)(file, found);
	return as_solaris(REAL(fstat)(file, &here), &here, file, found);
}

static int flags_of(enum caller caller, int flags)
{
	if (caller != ADDON)
		return flags;
	return (flags & 0x20000 ? O_NOFOLLOW : 0) | (flags & 0x1000000 ? O_DIRECTORY : 0) | (flags & 0x800000 ? O_CLOEXEC : 0) |
	       O_NONBLOCK | O_NOCTTY;
}

int openat(int folder, const char *path, int flags, ...)
{
	enum caller caller = who(CALLER);
	va_list values;

	va_start(values, flags);
	unsigned mode = flags & (O_CREAT | O_TMPFILE) && caller == STRANGER ? va_arg(values, unsigned) : 0;
	va_end(values);
	if (caller != STRANGER && !has("file_read"))
		return refuse(EACCES);
	return (int)syscall(SYS_openat, folder_of(caller, folder), path, flags_of(caller, flags), mode);
}

int open(const char *path, int flags, ...)
{
	enum caller caller = who(CALLER);
	va_list values;

	va_start(values, flags);
	unsigned mode = flags & (O_CREAT | O_TMPFILE) && caller == STRANGER ? va_arg(values, unsigned) : 0;
	va_end(values);
	if (caller == STRANGER)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	BEFORE("open %s", path);
	if (!has("file_read"))
		return refuse(EACCES);
	int from = at_root(&path);
	return (int)syscall(SYS_openat, from, path, flags_of(caller, flags), mode);
}

ssize_t readlinkat(int folder, const char *path, char *text, size_t size)
{
	return syscall(SYS_readlinkat, folder_of(who(CALLER), folder), path, text, size);
}

static bool is_member(gid_t group)
{
	bool is = self.group[0] == group;

	for (int i = 0; i < self.group_count; i++)
		is |= self.groups[i] == group;
	return is;
}

/* By the real ids, and the privileges in effect (access(2), privileges(7)). */
static int model_access(int folder, const char *path, int mode)
{
	struct stat found;
	unsigned allowed;

	if (syscall(SYS_newfstatat, folder, path, &found, 0))
		return -1;
	allowed = found.st_mode >> (found.st_uid == self.user[0] ? 6 : is_member(found.st_gid) ? 3 : 0) & 7;
	if (has("file_dac_read"))
		allowed |= R_OK;
	if (has("file_dac_write") && (found.st_uid || !(ALL & ~held(E))))
		allowed |= W_OK;
	if (S_ISDIR(found.st_mode) && has("file_dac_search"))
		allowed |= X_OK;
	if (!has("file_write"))
		allowed &= ~(unsigned)W_OK;
	return (unsigned)mode & ~allowed ? refuse(EACCES) : 0;
}

int access(const char *path, int mode)
{
	if (who(CALLER) == STRANGER)
		return (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
	BEFORE("access %s %d", path, mode);
	int from = at_root(&path);
	return model_access(from, path, mode);
}

int faccessat(int folder, const char *path, int mode, int flags)
{
	if (who(CALLER) == STRANGER)
		return REAL(faccessat)(folder, path, mode, flags);
	return model_access(folder, path, mode);
}

/* A pipe is a stream there, and so is a terminal. */
int isastream(int file)
{
	struct stat found;

	return !REAL(fstat)(file, &found) && (S_ISFIFO(found.st_mode) || isatty(file));
}

int fdwalk(int (*visit)(void *, int), void *context)
{
	DIR *folder;
	struct dirent *entry;
	int result = 0;

	BEFORE("fdwalk");
	if (!(folder = opendir("/proc/self/fd")))
		return -1;
	while (!result && (entry = readdir(folder)))
		if (*entry->d_name != '.' && atoi(entry->d_name) != dirfd(folder) && atoi(entry->d_name) != self.root)
			result = visit(context, atoi(entry->d_name));
	closedir(folder);
	return result;
}

/* ---- sockets ---- */

int socket(int family, int type, int protocol)
{
	enum caller caller = who(CALLER);

	if (caller == STRANGER)
		return REAL(socket)(family, type, protocol);
	BEFORE("socket %d %d", family, type);
	if (family != AF_UNIX && !has("net_access"))
		return refuse(EACCES);
	return REAL(socket)(caller == ADDON && family == 26 ? AF_INET6 : family, SOCK_STREAM, 0);
}

static const char *needed_for(int port)
{
	if (port == 2049 || port == 4045)
		return "sys_nfs";
	if ((port >= 137 && port <= 139) || port == 445)
		return "sys_smb";
	return port < 1024 ? "net_privaddr" : NULL;
}

/* The privilege is checked before whether the port is free. Both layouts begin alike. */
int bind(int file, const struct sockaddr *address, socklen_t size)
{
	int port = ntohs(((const struct sockaddr_in *)address)->sin_port);

	if (who(CALLER) == STRANGER)
		return REAL(bind)(file, address, size);
	if (needed_for(port) && !has(needed_for(port)))
		return called("bind %d %d %u", address->sa_family, port, size), refuse(EACCES);
	BEFORE("bind %d %d %u", address->sa_family, port, size);
	return 0;
}

int setsockopt(int file, int level, int option, const void *value, socklen_t size)
{
	if (who(CALLER) == STRANGER)
		return REAL(setsockopt)(file, level, option, value, size);
	BEFORE("setsockopt %d %#x", level, option);
	return 0;
}

int getsockopt(int file, int level, int option, void *value, socklen_t *size)
{
	if (who(CALLER) == ADDON && level == 0xffff) {
		level = SOL_SOCKET;
		option = option == 2 ? SO_ACCEPTCONN : SO_TYPE; /* 0x1008 */
	}
	return REAL(getsockopt)(file, level, option, value, size);
}

/* ---- processes and signals ---- */

/* FORK_NOSIGCHLD 1, FORK_WAITPID 2: no SIGCHLD at its end, and only a wait for this very process finds it (forkx(2)). Linux has that
 * for children without an exit signal; in a program with threads there is no way to it that keeps malloc() usable in the child. */
pid_t forkx(int flags)
{
	pid_t child;
	int said = called("forkx %d", flags);

	if (said || !has("proc_fork"))
		return refuse(said ? errno : EPERM);
	child = getenv("SUNOS_MODEL_HOST") ? (pid_t)syscall(SYS_clone, flags == 3 ? 0 : SIGCHLD, NULL, NULL, NULL, NULL) : fork();
	if (!child)
		self.child = true;
	return child;
}

pid_t waitpid(pid_t child, int *status, int options)
{
	enum caller caller = who(CALLER);

	if (caller == ADDON)
		options = options & 0100 ? WNOHANG : 0;
	if (caller != STRANGER && child > 0)
		options |= __WALL;
	return REAL(waitpid)(child, status, options);
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
	const char *files = getenv("SUNOS_MODEL_FILES");
	enum caller caller = who(CALLER);

	if (caller == STRANGER)
		return REAL(getrlimit)(resource, limit);
	BEFORE("getrlimit");
	if (REAL(getrlimit)(RLIMIT_NOFILE, limit)) /* 5 there */
		return -1;
	if (files)
		limit->rlim_max = strtoul(files, NULL, 0);
	return 0;
}

long sysconf(int name)
{
	enum caller caller = who(CALLER);

	if (caller == ADDON ? name != 4 : caller == STRANGER || name != _SC_NGROUPS_MAX)
		return REAL(sysconf)(name);
	BEFORE("sysconf");
	return self.groups_max;
}

struct solaris_sigaction {
	int flags;
	void *handler;
	unsigned mask[4];
};

static int signal_of(int solaris)
{
	return solaris == 16 ? SIGUSR1 : solaris; /* SIGABRT and SIGKILL are the same */
}

int sigaction(int signo, const struct sigaction *new, struct sigaction *old)
{
	enum caller caller = who(CALLER);
	struct sigaction in = {0}, out;
	struct solaris_sigaction shown = {0};
	int result;

	if (caller != STRANGER && new)
		BEFORE("sigaction %d", caller == ADDON ? signal_of(signo) : signo);
	if (caller != ADDON)
		return REAL(sigaction)(signo, new, old);
	if (new) {
		in.sa_handler = (__typeof__(in.sa_handler))((const struct solaris_sigaction *)new)->handler;
		in.sa_flags = ((const struct solaris_sigaction *)new)->flags & 4 ? SA_RESTART : 0;
	}
	result = REAL(sigaction)(signal_of(signo), new ? &in : NULL, &out);
	shown.handler = (void *)out.sa_handler;
	shown.flags = out.sa_flags & SA_RESTART ? 4 : 0;
	if (old && !result)
		memcpy(old, &shown, sizeof shown);
	return result;
}

int sigfillset(sigset_t *set)
{
	if (who(CALLER) != ADDON)
		return REAL(sigfillset)(set);
	memset(set, 0xff, 16);
	return 0;
}

int sigemptyset(sigset_t *set)
{
	if (who(CALLER) != ADDON)
		return REAL(sigemptyset)(set);
	memset(set, 0, 16);
	return 0;
}

/* Of a mask there is all or nothing here, as the addon has it. */
int pthread_sigmask(int how, const sigset_t *new, sigset_t *old)
{
	enum caller caller = who(CALLER);
	static sigset_t before;
	sigset_t set;
	unsigned first;

	if (caller == STRANGER)
		return REAL(pthread_sigmask)(how, new, old);
	if (called("pthread_sigmask"))
		return translated(errno);
	if (caller == HOST)
		return REAL(pthread_sigmask)(how, new, old);
	memcpy(&first, new, sizeof first);
	if (first)
		REAL(sigfillset)(&set);
	else
		set = before;
	return how == 3 ? REAL(pthread_sigmask)(SIG_SETMASK, &set, old ? &before : NULL) | (old ? (memset(old, 0, 16), 0) : 0)
	                : EINVAL;
}

int _lwp_self(void) { return (int)syscall(SYS_gettid); }
int _lwp_kill(int thread, int signo)
{
	note("_lwp_kill");
	return (int)syscall(SYS_tgkill, getpid(), thread, signo);
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	siginfo_t here;
	int wanted = (options & 01 ? WEXITED : 0) | (options & 0100 ? WNOHANG : 0) | (options & 0200 ? WNOWAIT : 0);

	if (who(CALLER) != ADDON)
		return REAL(waitid)(type, id, info, options);
	return REAL(waitid)(type == 7 ? P_ALL : type, id, &here, wanted);
}

void *mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
	if (who(CALLER) != STRANGER && called("mmap"))
		return MAP_FAILED;
	if (who(CALLER) == ADDON)
		flags = (flags & ~0x100) | (flags & 0x100 ? MAP_ANONYMOUS : 0);
	return (void *)syscall(SYS_mmap, at, size, protection, flags, file, offset);
}

long long gethrtime(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* ---- accounts ---- */

struct solaris_passwd {
	char *name, *password;
	uid_t uid;
	gid_t gid;
	char *age, *comment, *gecos, *folder, *shell;
};
struct solaris_group {
	char *name, *password;
	gid_t gid;
	char **members;
};

static int find_user(const char *name, uid_t uid, struct solaris_passwd *user, size_t size, struct solaris_passwd **found)
{
	*found = NULL;
	if (size < 10000)
		return ERANGE;
	if (name && !strcmp(name, "broken"))
		return EIO;
	if (name ? strcmp(name, "smtp") : uid != 990)
		return 0;
	*user = (struct solaris_passwd){.name = (char *)"smtp", .uid = 990, .gid = 991};
	*found = user;
	return 0;
}

int __posix_getpwnam_r(const char *name, struct solaris_passwd *user, char *buffer, size_t size, struct solaris_passwd **found)
{
	(void)buffer;
	return find_user(name, 0, user, size, found);
}
int __posix_getpwuid_r(uid_t uid, struct solaris_passwd *user, char *buffer, size_t size, struct solaris_passwd **found)
{
	(void)buffer;
	return find_user(NULL, uid, user, size, found);
}
int __posix_getgrnam_r(const char *name, struct solaris_group *group, char *buffer, size_t size, struct solaris_group **found)
{
	(void)buffer;
	*found = NULL;
	if (size < 10000)
		return ERANGE;
	if (!strcmp(name, "broken"))
		return EIO;
	if (strcmp(name, "mail") && strcmp(name, "smtp"))
		return 0;
	*group = (struct solaris_group){.gid = strcmp(name, "mail") ? 991 : 8};
	*found = group;
	return 0;
}
int __posix_getgrgid_r(gid_t gid, struct solaris_group *group, char *buffer, size_t size, struct solaris_group **found)
{
	(void)buffer;
	*found = NULL;
	if (size < 10000)
		return ERANGE;
	if (gid != 8)
		return 0;
	*group = (struct solaris_group){.name = (char *)"mail", .gid = 8};
	*found = group;
	return 0;
}

int getgrouplist(const char *name, gid_t primary, gid_t *groups, int *count)
{
	int room = *count;

	if (who(CALLER) == STRANGER)
		return REAL(getgrouplist)(name, primary, groups, count);
	*count = 3;
	if (room < *count)
		return -1;
	memcpy(groups, (gid_t[]){primary, 8, 14}, 3 * sizeof *groups);
	return 0;
}
