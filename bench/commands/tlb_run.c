/* SPDX-License-Identifier: MIT */
/* The TLBs of kmm tlb, all fed with the same accesses; see tlb.h. */
#include "bench/commands/tlb.h"

#include <stdlib.h>

#define KERNEL_CODE 0xffffffff81000000UL
#define KERNEL_DATA 0xffff888001000000UL

bool tlb_has_pages(const struct tlb_config *config, unsigned int level)
{
	for (int i = 0; i < TLB_MAX_ARRAYS; i++)
		if (config->arrays[0][i].entries && config->arrays[0][i].levels & TLB_LEVEL(level))
			return level <= config->paging.levels;
	return false;
}

unsigned int tlb_job_levels(const struct tlb_job *job)
{
	unsigned int levels = job->variants[0].levels;

	for (int i = 1; i < job->nr_variants; i++)
		levels = min_t(unsigned int, levels, job->variants[i].levels);
	return levels;
}

static int begin_variant(struct tlb_job *job, struct tlb_variant *variant)
{
	struct tlb_config config = job->config;
	int error;

	if (variant->levels == 5)
		config.paging = tlb_paging_5_level;
	error = tlb_create(&config, &variant->tlb);
	if (!error)
		tlb_switch(variant->tlb, 1);
	return error;
}

int tlb_job_begin(struct tlb_job *job)
{
	int error = 0;

	for (int i = 0; i < job->nr_variants && !error; i++)
		error = begin_variant(job, &job->variants[i]);
	if (error)
		tlb_job_end(job);
	return error;
}

void tlb_job_end(struct tlb_job *job)
{
	for (int i = 0; i < job->nr_variants; i++) {
		if (job->variants[i].tlb)
			tlb_read_counts(job->variants[i].tlb, &job->variants[i].counts);
		tlb_destroy(job->variants[i].tlb);
		job->variants[i].tlb = NULL;
	}
}

/* Into the kernel, to its pages, and back: to another process, if next is not 0. */
static void visit_kernel(const struct tlb_job *job, const struct tlb_variant *variant, u32 next)
{
	unsigned int how = TLB_GLOBAL | (variant->leaf - 1) << 2;
	unsigned int shift = job->config.paging.shift[variant->leaf];

	tlb_enter_kernel(variant->tlb);
	for (u64 i = 0; i < job->schedule.kernel_pages; i++) {
		/* Downwards: 2 GiB above it the addresses end. */
		tlb_access(variant->tlb, KERNEL_CODE - (i << shift), how | TLB_FETCH);
		tlb_access(variant->tlb, KERNEL_DATA + (i << shift), how | TLB_LOAD);
	}
	if (next)
		tlb_switch(variant->tlb, next);
	tlb_exit_kernel(variant->tlb);
}

/* What is due before access number nr. */
static void keep_schedule(const struct tlb_job *job, const struct tlb_variant *variant, u64 nr)
{
	const struct tlb_schedule *schedule = &job->schedule;

	if (!nr)
		return;
	if (schedule->switch_every && nr % schedule->switch_every == 0)
		visit_kernel(job, variant,
			     1 + (u32)(nr / schedule->switch_every % schedule->nr_processes));
	else if (schedule->kernel_every && nr % schedule->kernel_every == 0)
		visit_kernel(job, variant, 0);
}

static unsigned int how_of(const struct tlb_variant *variant, enum access_kind kind)
{
	static const unsigned int kinds[ACCESS_NR_KINDS] = {
		[ACCESS_LOAD] = TLB_LOAD, [ACCESS_STORE] = TLB_STORE, [ACCESS_FETCH] = TLB_FETCH};

	return kinds[kind] | (variant->leaf - 1) << 2;
}

/* One by one. */
static void feed_mixed(const struct tlb_job *job, const struct tlb_variant *variant,
		       const struct access *accesses, size_t nr)
{
	bool busy = job->schedule.kernel_every || job->schedule.switch_every;
	unsigned int shift = job->config.paging.shift[variant->leaf];

	for (size_t i = 0; i < nr; i++) {
		const struct access *access = &accesses[i];
		unsigned int how = how_of(variant, access->kind);
		u64 last = access->address + access->bytes - 1;

		if (busy)
			keep_schedule(job, variant, job->nr_accesses + i);
		tlb_access(variant->tlb, access->address, how);
		if (unlikely(last >> shift != access->address >> shift))
			tlb_access(variant->tlb, last, how);
	}
}

/* All of one kind, and nothing is due between them: much faster. */
static void feed_run(const struct tlb_job *job, const struct tlb_variant *variant,
		     const struct access *accesses, size_t nr)
{
	unsigned int shift = job->config.paging.shift[variant->leaf];
	u64 va[TLB_BATCH + 1];
	size_t nr_va = 0;

	for (size_t i = 0; i < nr; i++) {
		u64 last = accesses[i].address + accesses[i].bytes - 1;

		va[nr_va++] = accesses[i].address;
		if (unlikely(last >> shift != accesses[i].address >> shift))
			va[nr_va++] = last;
		if (nr_va < TLB_BATCH && i + 1 < nr)
			continue;
		tlb_run(variant->tlb, va, nr_va, how_of(variant, accesses[0].kind));
		nr_va = 0;
	}
}

static bool are_a_run(const struct tlb_job *job, const struct access *accesses, size_t nr)
{
	if (job->schedule.kernel_every || job->schedule.switch_every)
		return false;
	for (size_t i = 1; i < nr; i++)
		if (accesses[i].kind != accesses[0].kind)
			return false;
	return true;
}

/* How many do not begin and end at an address that the smallest tables have: below 2^32, or in one of the
 * two halves of more levels. */
static u64 outside(const struct tlb_job *job, const struct access *accesses, size_t nr)
{
	unsigned int levels = tlb_job_levels(job);
	unsigned int bits = levels == 2 ? 32 : 9 * levels + 11;
	u64 nr_outside = 0;

	for (size_t i = 0; i < nr; i++) {
		u64 first = accesses[i].address, last = first + accesses[i].bytes - 1;

		/* The upper half is as far from the end as the lower from the begin. */
		if (levels > 2 && (s64)first < 0 && (s64)last < 0) {
			first = ~first;
			last = ~last;
		}
		nr_outside += first >> bits || last >> bits;
	}
	return nr_outside;
}

void tlb_job_feed(struct tlb_job *job, const struct access *accesses, size_t nr)
{
	bool run = are_a_run(job, accesses, nr);

	for (int i = 0; i < job->nr_variants; i++)
		(run ? feed_run : feed_mixed)(job, &job->variants[i], accesses, nr);
	job->nr_accesses += nr;
	job->nr_outside += outside(job, accesses, nr);
}
