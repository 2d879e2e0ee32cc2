/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back to the host: at once for malloc_trim, and by a helper thread when the program
 * idles.
 */
#include "malloc/heap.h"

#include "kmm.h"

bool trim_now(void)
{
	enum entry entry = heap_enter();

	if (entry != ENTRY_EARLY)
		kmm_drain(heap.machine);
	heap_leave(entry);
	return entry != ENTRY_EARLY;
}

void trim_maybe_start(void)
{
}

void trim_after_fork(void)
{
}
