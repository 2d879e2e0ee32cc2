/* SPDX-License-Identifier: MIT */
/* Any bytes as a preset's text: one that comes back the same from what is written of it, or one
 * line of error. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "virt/tlb_file.h"

static char *write_text(const struct tlb_preset *preset, size_t *length)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, length);

	if (!out || tlb_file_write(preset, out) || fclose(out))
		abort();
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct tlb_file first, second;
	char error[TLB_FILE_ERROR] = "", *text, *again;
	size_t text_length, again_length;

	if (tlb_file_parse((const char *)bytes, length, &first, error)) {
		if (!error[0] || strchr(error, '\n'))
			abort();
		return 0;
	}
	text = write_text(&first.preset, &text_length);
	if (tlb_file_parse(text, text_length, &second, error))
		abort();
	again = write_text(&second.preset, &again_length);
	if (text_length != again_length || memcmp(text, again, text_length))
		abort();
	free(text);
	free(again);
	return 0;
}
