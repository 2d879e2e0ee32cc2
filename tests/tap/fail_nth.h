/* SPDX-License-Identifier: MIT */
/*
 * For fault sweeps: the nth call of some functions fails. A wrapper that the linker puts before each of
 * them (--wrap) asks fails().
 */
#ifndef TESTS_TAP_FAIL_NTH_H
#define TESTS_TAP_FAIL_NTH_H

#include <stdbool.h>

static bool armed;	  /* calls count */
static bool from_then_on; /* all from the nth on fail, not the nth alone */
static unsigned long calls, fail_at, nr_failed;

static inline bool fails(void)
{
	if (!armed)
		return false;
	calls++;
	if (calls != fail_at && !(from_then_on && calls > fail_at))
		return false;
	nr_failed++;
	return true;
}

#endif
