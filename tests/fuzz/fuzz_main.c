/* SPDX-License-Identifier: MIT */
/*
 * Stands in for libFuzzer, as a test: feeds every file of the corpus folder given, and FUZZ_RUNS
 * (1000) mutations of them, made from a seed that is printed (TEST_SEED repeats a run). For hours
 * of fuzzing, configure with clang and --enable-fuzzers.
 */
#include <dirent.h>
#include <stdint.h>

#include "tests/fuzz/fuzz.h"
#include "tests/tap/tap.h"

#define MAX_FILES 256
#define MAX_BYTES (1 << 20)

static struct input {
	uint8_t *bytes;
	size_t length;
} inputs[MAX_FILES];
static int nr_inputs;

static void load(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[4096 + 300];

	if (!dir)
		return;
	while (nr_inputs < MAX_FILES && (entry = readdir(dir))) {
		struct input *input = &inputs[nr_inputs];
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (entry->d_name[0] == '.' || !(f = fopen(path, "r")))
			continue;
		input->bytes = malloc(MAX_BYTES);
		if (!input->bytes)
			abort();
		input->length = fread(input->bytes, 1, MAX_BYTES, f);
		fclose(f);
		nr_inputs++;
	}
	closedir(dir);
}

/* A few of: a byte changed, bytes taken out, bytes doubled, the end cut off. Returns the new
 * length. */
static size_t mutate(uint8_t *bytes, size_t length, unsigned long *seed)
{
	for (unsigned long rounds = 1 + tap_random(seed) % 4; rounds && length > 1; rounds--) {
		size_t at = tap_random(seed) % length, n = 1 + tap_random(seed) % 16;

		if (n > length - at)
			n = length - at;
		switch (tap_random(seed) % 5) {
		case 0:
			bytes[at] = (uint8_t)tap_random(seed);
			break;
		case 1:
			bytes[at] ^= (uint8_t)(1U << tap_random(seed) % 8);
			break;
		case 2:
			memmove(bytes + at, bytes + at + n, length - at - n);
			length -= n;
			break;
		case 3:
			if (length + n > MAX_BYTES)
				break;
			memmove(bytes + at + n, bytes + at, length - at);
			length += n;
			break;
		default:
			length = tap_random(seed) % 4 ? length : at;
		}
	}
	return length;
}

static void the_corpus_is_there(void)
{
	ok(nr_inputs > 0, "no files");
}

static void no_file_of_the_corpus_crashes(void)
{
	for (int i = 0; i < nr_inputs; i++)
		LLVMFuzzerTestOneInput(inputs[i].bytes, inputs[i].length);
}

static void no_mutation_crashes(void)
{
	unsigned long runs = tap_number("FUZZ_RUNS", 1000), seed = tap_seed() | 1;
	uint8_t *bytes = malloc(MAX_BYTES);

	if (!bytes)
		abort();
	for (unsigned long i = 0; nr_inputs && i < runs; i++) {
		const struct input *input = &inputs[tap_random(&seed) % (unsigned long)nr_inputs];

		memcpy(bytes, input->bytes, input->length);
		LLVMFuzzerTestOneInput(bytes, mutate(bytes, input->length, &seed));
	}
	free(bytes);
}

int main(int argc, char **argv)
{
	char folder[4096];
	const char *srcdir = getenv("srcdir");

	snprintf(folder, sizeof(folder), "%s/" FUZZ_CORPUS, srcdir ? srcdir : ".");
	load(argc > 1 ? argv[1] : folder);
	RUN(the_corpus_is_there);
	RUN(no_file_of_the_corpus_crashes);
	RUN(no_mutation_crashes);
	for (int i = 0; i < nr_inputs; i++)
		free(inputs[i].bytes);
	return done();
}
