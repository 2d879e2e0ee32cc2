/* SPDX-License-Identifier: MIT */
/*
 * The end of a block's use: what must be true of it when its last reference is gone, and what is
 * undone before it is free. See page_ref.h and page_flags.h.
 */
#include "phys/page_ref.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "phys/alloc.h"
#include "phys/page_alloc.h"
#include "phys/page_flags.h"

static const char *const flag_names[] = {
#define X(name, Name) #name,
	PAGE_FLAGS(X)
#undef X
};

void page_ref_refuse(const struct page *page, s32 count)
{
	unsigned long pfn = page_to_pfn(page);

	KMM_BUG_ON(page->type == PG_TYPE_FREE && !count, "frame %lu is free: it has no references",
		   pfn);
	KMM_BUG("frame %lu, of type %u, has %d references, and one is taken or dropped", pfn,
		page->type, count);
}

/* A block is freed that somebody still has, as its flags or its mappings say. */
static KMM_COLD __attribute__((noreturn)) void refuse_used(const struct page *page, u32 flags)
{
	char names[256] = "";
	size_t len = 0;

	for (unsigned int bit = 0; bit < NR_PAGEFLAGS; bit++)
		if (flags & PAGE_FLAG(bit) & PAGE_FLAGS_CHECK_AT_FREE)
			len += (size_t)snprintf(names + len, sizeof(names) - len, " %s",
						flag_names[bit]);
	KMM_BUG("free of frame %lu, order %u: mapped %d times, flags%s", page_to_pfn(page),
		page->order, page->mapcount, len ? names : " none");
}

void page_prepare_free(struct page *page)
{
	u32 flags = READ_ONCE(page->flags);

	if (unlikely(flags & PAGE_FLAGS_CHECK_AT_FREE) || unlikely(page->mapcount))
		refuse_used(page, flags);
	WRITE_ONCE(page->flags, 0);
	WRITE_ONCE(page->place, (u8)(READ_ONCE(page->place) & ~PLACE_FLAGGED));
	if (READ_ONCE(page->type) != PG_TYPE_HEAD)
		return;
	for (unsigned long i = 1, nr = 1UL << READ_ONCE(page->order); i < nr; i++) {
		WRITE_ONCE(page[i].type, PG_TYPE_NONE);
		WRITE_ONCE(page[i].head, NULL);
	}
	page_set_type(page, PG_TYPE_ALLOC);
}
