/* SPDX-License-Identifier: MIT */
/* What libFuzzer calls; fuzz_main.c calls it with the files of a corpus where there is no
 * libFuzzer. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#endif
