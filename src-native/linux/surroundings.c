/*
 * surroundings.c - files on which the next start of this program depends; read-only
 */
#define _GNU_SOURCE
#include "linux.h"

#include <linux/capability.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

struct list {
	char *text;
	size_t size;
};

static int add_library(struct dl_phdr_info *info, size_t size, void *context)
{
	struct list *list = context;
	size_t length = strlen(info->dlpi_name) + 1;
	char *larger;

	(void)size;
	if (info->dlpi_name[0] != '/') /* the program itself has no name, the kernel's vdso no path */
		return 0;
	if (!(larger = realloc(list->text, list->size + length)))
		return 1;
	memcpy(larger + list->size, info->dlpi_name, length);
	list->text = larger;
	list->size += length;
	return 0;
}

char *list_libraries(size_t *size)
{
	struct list list = {NULL, 0};

	dl_iterate_phdr(add_library, &list);
	*size = list.size;
	return list.text;
}

uint64_t file_capabilities(const char *path, bool *effective)
{
	struct vfs_ns_cap_data data;
	ssize_t size = getxattr(path, "security.capability", &data, sizeof data);

	*effective = false;
	if (size < (ssize_t)XATTR_CAPS_SZ_2)
		return 0; /* there are none, or those of Linux 2.6.24 */
	/* The attribute is little-endian, as are the two machines that this is built for. */
	*effective = data.magic_etc & VFS_CAP_FLAGS_EFFECTIVE;
	return data.data[0].permitted | (uint64_t)data.data[1].permitted << 32;
}
