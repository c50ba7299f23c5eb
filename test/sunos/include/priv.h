/* What Linux lacks of the headers of illumos, for the core with the model (host.c). In the order of scripts/sunos/system.h. */
#ifndef TEST_SUNOS_PRIV_H
#define TEST_SUNOS_PRIV_H

#include <grp.h>
#include <stdbool.h>
#include <sys/types.h>

typedef unsigned uint_t;
typedef long long hrtime_t;
int fdwalk(int (*)(void *, int), void *);
enum { FORK_NOSIGCHLD = 1, FORK_WAITPID = 2 };
pid_t forkx(int);
hrtime_t gethrtime(void);
int _lwp_kill(int, int);
int _lwp_self(void);
enum { P_MYID = -1 };

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
int priv_isemptyset(const priv_set_t *);
int priv_isequalset(const priv_set_t *, const priv_set_t *);
int priv_isfullset(const priv_set_t *);
int priv_ismember(const priv_set_t *, const char *);
void priv_intersect(const priv_set_t *, priv_set_t *);
int priv_issubset(const priv_set_t *, const priv_set_t *);
priv_set_t *priv_str_to_set(const char *, const char *, const char **);
char *priv_set_to_str(const priv_set_t *, char, int);

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

void model_start(void); /* model.c */

#endif
