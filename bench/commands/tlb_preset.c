/* SPDX-License-Identifier: MIT */
/* Presets of kmm tlb that are files; see tlb.h, and virt/tlb_file.h for what is in them. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/commands/tlb.h"

static int read_text(const char *path, char *text, size_t size, size_t *length)
{
	FILE *in = fopen(path, "re");
	int error = 0;

	if (!in)
		return -errno;
	errno = 0;
	*length = fread(text, 1, size, in);
	if (ferror(in))
		error = errno ? -errno : -EIO;
	fclose(in);
	return error;
}

int tlb_read_preset(const char *path, struct tlb_file *file)
{
	static char text[TLB_FILE_MAX + 1]; /* one more than there may be, to see that there is */
	char error[TLB_FILE_ERROR];
	size_t length = 0;
	int status;

	if (!strchr(path, '/') && access(path, F_OK))
		return complain("--preset: %s: no such preset; kmm tlb --help lists them", path);
	status = read_text(path, text, sizeof(text), &length);
	if (status)
		return complain("%s: %s", path, strerror(-status));
	if (!tlb_file_parse(text, length, file, error))
		return EXIT_OK;
	/* `path:12: ...' or `path: ...' */
	return complain("%s:%s%s", path, error[0] >= '0' && error[0] <= '9' ? "" : " ", error);
}

bool tlb_is_name(const char *name)
{
	size_t length = strlen(name);

	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || *c == '#')
			return false;
	return length && length < TLB_NAME_SIZE;
}
