/* SPDX-License-Identifier: MIT */
/*
 * Short names put together while a machine boots. printf would do it too, at the price of bringing
 * the half of the C library that it needs into a process that perhaps never prints: of some 0.2 ms
 * that a boot takes, that was a tenth.
 */
#ifndef KMM_BASE_TEXT_H
#define KMM_BASE_TEXT_H

#include "base/types.h"

/* Where the next character goes, and the place of the last one, which stays 0. */
struct text {
	char *at, *end;
};

/* An empty text, in size bytes from buffer on; size is at least 1. */
static inline struct text text_begin(char *buffer, size_t size)
{
	*buffer = '\0';
	return (struct text){buffer, buffer + size - 1};
}

/* What there is no room for is left out. */
static inline void text_add(struct text *text, const char *string)
{
	while (*string && text->at < text->end)
		*text->at++ = *string++;
	*text->at = '\0';
}

/* In decimal. */
static inline void text_add_number(struct text *text, unsigned long number)
{
	char digits[24], *first = digits + sizeof(digits) - 1;

	*first = '\0';
	do {
		*--first = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	text_add(text, first);
}

#endif
