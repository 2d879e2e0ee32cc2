// SPDX-License-Identifier: MIT
/*
 * One case: checked, timed, checked.
 *
 * The check is the command's: a set of objects is filled with words made of their addresses and numbers
 * (whole objects up to a page, the first word of each page of larger ones), and every word must be there
 * when its object is freed, in an order of its own.
 */
#include "kmm_linux.h"

#define PER_MS	     (cycles_per_ms ? cycles_per_ms : calibrate_ms())
#define VERIFY_MAX   1024
#define VERIFY_PAGES 1024

static struct {
	void *objects[BATCH_COUNT];
	u16 perms[NR_PERMS][BATCH_COUNT], sizes[NR_PERMS][BATCH_COUNT];
	u16 order[BATCH_COUNT];
	u64 salt;
	unsigned int next_perm;
} state;

static u64 cycles_per_ms;

static u64 calibrate_ms(void)
{
	u64 from = ktime_get_ns(), begin = cycles_now(), ns;

	do
		ns = ktime_get_ns() - from;
	while (ns < 5 * NSEC_PER_MSEC);
	cycles_per_ms = div64_u64((cycles_now() - begin) * NSEC_PER_MSEC, ns);
	return cycles_per_ms;
}

static int verify_count(const struct kmm_case *c)
{
	size_t pages = max_t(size_t, DIV_ROUND_UP(c->size_bytes, PAGE_SIZE), 1);
	int most = c->count > 1 ? min(c->count, VERIFY_MAX) : 64;

	return clamp_t(int, VERIFY_PAGES / pages, 8, most);
}

static void draw(const struct kmm_case *c)
{
	u64 random = thread_seed(BENCH_SEED, 0);
	int i, j, count = max(c->count, 1);

	for (i = 0; i < NR_PERMS; i++) {
		shuffle_order(state.perms[i], count, &random);
		for (j = 0; c->pattern == MIXED && j < count; j++)
			state.sizes[i][j] = mixed_size(&random);
	}
	state.salt = bench_random(&random);
	bench_random(&random); /* the command's cases that draw as they go begin here */
	shuffle_order(state.order, verify_count(c), &random);
	state.next_perm = 0;
}

static size_t size_of(const struct kmm_case *c, int i)
{
	return c->pattern == MIXED ? state.sizes[0][i] : c->size_bytes;
}

static bool check_object(const char *object, size_t size, u64 number)
{
	size_t step = size > PAGE_SIZE ? PAGE_SIZE : sizeof(u64), at;

	for (at = 0; at + sizeof(u64) <= size; at += step)
		if (*(const u64 *)(object + at) != verify_word(object + at, state.salt, number))
			return false;
	return true;
}

static void fill_object(char *object, size_t size, u64 number)
{
	size_t step = size > PAGE_SIZE ? PAGE_SIZE : sizeof(u64), at;

	for (at = 0; at + sizeof(u64) <= size; at += step)
		*(u64 *)(object + at) = verify_word(object + at, state.salt, number);
}

static int verify(const struct kmm_case *c)
{
	int nr = verify_count(c), i, error = 0;

	for (i = 0; i < nr; i++) {
		state.objects[i] = c->alloc(size_of(c, i));
		if (!state.objects[i]) {
			nr = i;
			error = say_error("%s/%s/%s: no memory in the check", c->suite, c->name,
					  c->size);
			break;
		}
		fill_object(state.objects[i], size_of(c, i), i);
	}
	for (i = 0; !error && i < nr; i++) {
		int j = state.order[i];

		if (!check_object(state.objects[j], size_of(c, j), j))
			return say_error("%s/%s/%s: object %d is not what was written to it",
					 c->suite, c->name, c->size, j);
		c->release(state.objects[j]);
	}
	while (error && nr)
		c->release(state.objects[--nr]);
	return error;
}

static bool run(const struct kmm_case *c, u64 n)
{
	bool failed = false;

	if (c->run)
		return c->run(n);
	switch (c->pattern) {
	case PAIR:
		return loop_pair(c->alloc, c->release, c->size_bytes, 0, n);
	case BULK:
		loop_bulk(c->alloc, c->release, state.objects, c->count, c->size_bytes, n, &failed);
		break;
	case SHUFFLE:
		while (n--)
			loop_shuffle(c->alloc, c->release, state.objects, c->count, c->size_bytes,
				     0, state.perms[state.next_perm++ % NR_PERMS], &failed);
		break;
	case MIXED:
		for (; n--; state.next_perm++)
			loop_mixed(c->alloc, c->release, state.objects, c->count,
				   state.sizes[state.next_perm % NR_PERMS],
				   state.perms[state.next_perm % NR_PERMS], &failed);
		break;
	case BULK_CALL:
		while (n-- && !failed)
			failed = !loop_bulk_call(c->alloc_bulk, c->free_bulk, state.objects,
						 c->count, c->size_bytes);
		break;
	}
	return !failed;
}

static bool timed(const struct kmm_case *c, u64 n, u64 *cycles)
{
	u64 begin = cycles_now();
	bool got = run(c, n);

	*cycles = cycles_now() - begin;
	return got;
}

int measure_case(const struct kmm_case *c)
{
	u64 wanted = param_ms * PER_MS, cycles, n = 1;
	int i, error = 0;

	draw(c);
	if (!c->run)
		error = verify(c);
	if (error)
		return error;
	if (!run(c, c->count > 1 ? WARM_UP_BATCHES : WARM_UP_PAIRS))
		goto failed;
	for (; timed(c, n, &cycles) && cycles < wanted; n *= 2)
		;
	for (i = 0; i < param_repetitions; i++) {
		if (!timed(c, n, &cycles))
			goto failed;
		say("sample %s %s %s %d %llu %llu", c->suite, c->name, c->size, c->count,
		    n * max(c->count, 1), cycles);
	}
	return c->run ? 0 : verify(c);
failed:
	return say_error("%s/%s/%s: %s", c->suite, c->name, c->size,
			 c->run ? "a wrong result" : "no memory in a timed run");
}
