// SPDX-License-Identifier: MIT
/*
 * The initcall: all cases, then the end of this kernel.
 *
 * The short cases are taken in rounds, a share of their repetitions in each: what disturbs the machine for
 * a moment then meets a few repetitions of a case, not all.
 */
#include "kmm_linux.h"

#include <linux/init.h>
#include <linux/moduleparam.h>
#include <linux/reboot.h>
#include <linux/utsname.h>

#define NR_ROUNDS 3

int param_threads = 1;
unsigned long param_memory = 1UL << 30;
int param_repetitions = 9;
int param_ms = 3;
static char param_suites[64] = "page,slab,kmalloc,tree,ageing,replay";

module_param_named(threads, param_threads, int, 0444);
module_param_named(memory, param_memory, ulong, 0444);
module_param_named(repetitions, param_repetitions, int, 0444);
module_param_named(ms, param_ms, int, 0444);
module_param_string(suites, param_suites, sizeof(param_suites), 0444);

static bool wanted(const char *suite)
{
	size_t length = strlen(suite);
	const char *at = param_suites;

	while ((at = strstr(at, suite))) {
		if ((at == param_suites || at[-1] == ',') && (!at[length] || at[length] == ','))
			return true;
		at += length;
	}
	return false;
}

static int run_short_suites(void)
{
	int error = 0;

	if (wanted("page"))
		error = page_cases();
	if (!error && wanted("slab"))
		error = slab_cases();
	if (!error && wanted("kmalloc"))
		error = kmalloc_cases();
	if (!error && wanted("tree"))
		error = tree_cases();
	return error;
}

static int run_suites(void)
{
	int left = param_repetitions, round, error = 0;

	for (round = NR_ROUNDS; !error && round; round--) {
		param_repetitions = DIV_ROUND_UP(left, round);
		left -= param_repetitions;
		if (param_repetitions)
			error = run_short_suites();
	}
	if (!error && wanted("ageing"))
		error = ageing_cases();
	if (!error && wanted("replay"))
		error = replay_cases();
	return error;
}

static int __init kmm_bench(void)
{
	param_threads = clamp(param_threads, 1, 1024);
	param_repetitions = clamp(param_repetitions, 1, 100);
	param_ms = clamp(param_ms, 1, 1000);
	say("kmm-linux 1 %s", init_utsname()->release);
	if (!run_suites())
		say("end");
	kernel_power_off();
	return 0;
}
late_initcall(kmm_bench);
