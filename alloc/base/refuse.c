/* SPDX-License-Identifier: MIT */
/*
 * Why a machine could not be booted, in one line a thread. Any layer refuses through here, and
 * kmm_boot_error() shows it.
 */
#include "base/machine.h"

#include <stdarg.h>
#include <stdio.h>

static __thread char refusal[256];

int boot_refuse(int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(refusal, sizeof(refusal), fmt, ap);
	va_end(ap);
	return error;
}

void boot_refuse_nothing(void)
{
	refusal[0] = '\0';
}

const char *boot_refusal(void)
{
	return refusal;
}
