/* accounts.h - names to ids and back, through the name service of the system */
#ifndef PRIVDROP_ACCOUNTS_H
#define PRIVDROP_ACCOUNTS_H

#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 1: found; 0: no such account; -1 with *error: the name service failed. */
int user_by_name(const char *name, uid_t *uid, gid_t *gid, int *error);
int user_by_id(uid_t uid, gid_t *gid, int *error);
/* free() the name; NULL unless it is found. */
int name_of_user(uid_t uid, char **name, int *error);
/* initgroups.c: the supplementary groups of an account (getgrouplist(3)), `primary` among them; free() them. Without
 * an account: `primary` alone. Returns 0 or an errno: the name service failed, or the system cannot list groups
 * (ENOSYS). */
int account_groups(uid_t uid, gid_t primary, gid_t **groups, size_t *count);
int name_of_group(gid_t gid, char **name, int *error);
int group_by_name(const char *name, gid_t *gid, int *error);

#ifdef __cplusplus
}
#endif
#endif
