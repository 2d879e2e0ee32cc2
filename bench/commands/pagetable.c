/* SPDX-License-Identifier: MIT */
/*
 * kmm pagetable: page tables for ranges of addresses, built as libkmm builds them on a small
 * simulated machine, and shown: how an address is cut, the tables as a tree, what they take, and
 * what they would take in every other format and in one flat table.
 */
#include "bench/commands/pagetable.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bench/command.h"
#include "bench/options/options.h"

#define MAX_RANGES 64
#define TREE_LINES 60
/* Tables beyond this are summed, not built. */
#define MAX_BUILT_BYTES (64UL << 20)

enum {
	OPTION_FORMAT = 1,
	OPTION_MAP,
	OPTION_ADDRESS,
	OPTION_HUGE,
	OPTION_PID,
	OPTION_ALL,
	OPTION_HELP
};

static const struct option long_options[] = {
	MACHINE_OPTIONS,
	{"format", required_argument, NULL, OPTION_FORMAT},
	{"map", required_argument, NULL, OPTION_MAP},
	{"address", required_argument, NULL, OPTION_ADDRESS},
	{"pid", required_argument, NULL, OPTION_PID},
	{"huge", no_argument, NULL, OPTION_HUGE},
	{"all", no_argument, NULL, OPTION_ALL},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

struct request {
	struct common_options common;
	const struct pgtable_format *format;
	struct va_range ranges[MAX_RANGES];
	int nr_ranges;
	u64 addresses[MAX_RANGES];
	int nr_addresses;
	long pid; /* 0: none */
	bool huge, all;
};

static int help(void)
{
	char cut[FORMAT_CUT_SIZE];

	fputs("Usage: kmm pagetable [OPTION]... --map RANGE [RANGE]...\n"
	      "       kmm pagetable [OPTION]... --pid PID\n"
	      "       kmm pagetable [OPTION]... --address ADDRESS\n"
	      "Build page tables for ranges of addresses and show them: how an address is cut, the "
	      "tables as a tree,\n"
	      "and what they take, beside other formats and a flat table.\n\n"
	      "RANGE is START-END (END not included), START+SIZE or START, which is a page. "
	      "START and END\n"
	      "are hexadecimal, SIZE is decimal, with K, M, G or T behind it: 400000+64K.\n\n"
	      "      --map RANGE         map this; repeatable, and more may follow the options\n"
	      "      --pid PID           map what a process has in memory, and check it\n"
	      "      --format FORMAT     by name or cut (x86_64, which is 9+9+9+9+12)\n"
	      "      --address ADDRESS   cut this address (else the first of each range);\n"
	      "                          repeatable\n"
	      "      --huge              larger pages where a range has room for them\n"
	      "      --all               the whole tree, however long\n" MACHINE_HELP
	      "\nFormats:\n",
	      stdout);
	for (int i = 0; i < PGTABLE_NR_FORMATS; i++) {
		format_cut(pgtable_formats[i], cut);
		printf("  %-12s %s\n", pgtable_formats[i]->name, cut);
	}
	return EXIT_OK;
}

static int add_range(struct request *request, const char *text)
{
	struct va_range range;

	if (va_range_parse(text, &range))
		return complain("--map: %s: not START-END, START+SIZE or START: START and END in "
				"hexadecimal, SIZE in decimal, with K, M, G or T",
				text);
	if (request->nr_ranges == MAX_RANGES)
		return complain("--map: %s: more than %d ranges", text, MAX_RANGES);
	request->ranges[request->nr_ranges++] = range;
	return EXIT_OK;
}

static int add_address(struct request *request, const char *text)
{
	if (request->nr_addresses == MAX_RANGES)
		return complain("--address: %s: more than %d addresses", text, MAX_RANGES);
	if (va_parse(text, &request->addresses[request->nr_addresses]))
		return complain("--address: %s: not an address in hexadecimal", text);
	request->nr_addresses++;
	return EXIT_OK;
}

static int take_option(struct request *request, int option)
{
	switch (option) {
	case OPTION_FORMAT:
		request->format = format_find(optarg);
		if (!request->format)
			return complain("--format: %s: no such format; kmm pagetable --help lists "
					"them",
					optarg);
		return EXIT_OK;
	case OPTION_MAP:
		return add_range(request, optarg);
	case OPTION_ADDRESS:
		return add_address(request, optarg);
	case OPTION_PID:
		if (parse_number(optarg, 1, INT_MAX, &request->pid))
			return complain("--pid: %s: not a process", optarg);
		return EXIT_OK;
	case OPTION_HUGE:
		request->huge = true;
		return EXIT_OK;
	case OPTION_ALL:
		request->all = true;
		return EXIT_OK;
	default:
		return common_option(&request->common, option, optarg);
	}
}

static int by_start(const void *a, const void *b)
{
	const struct va_range *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* Ranges sorted, and each a range of the format over no other. What was given by its start alone is
 * a page, and the format says of what size. */
static int check_ranges(struct request *request)
{
	const struct pgtable_format *format = request->format;
	u64 page_mask = (1UL << format->page_shift) - 1;

	qsort(request->ranges, (size_t)request->nr_ranges, sizeof(request->ranges[0]), by_start);
	for (int i = 0; i < request->nr_ranges; i++) {
		struct va_range *range = &request->ranges[i];

		if (!strpbrk(range->text, "-+"))
			range->last = range->start | page_mask;
		if (!format_has_range(format, range))
			return complain("--map: %s: not addresses of %s", range->text,
					format->name);
		if ((range->start & page_mask) || (~range->last & page_mask))
			return complain("--map: %s: not whole pages of %lu KiB", range->text,
					(page_mask + 1) >> 10);
		if (i && range->start <= range[-1].last)
			return complain("--map: %s: lies over %s", range->text, range[-1].text);
	}
	return EXIT_OK;
}

/* To frames of the same number where there are such, so that what is aligned in the one is in the
 * other. Five levels have more pages than there are frames: behind the last comes the first. */
static int map_range(const struct request *request, struct pgtable *table,
		     const struct va_range *range)
{
	const struct pgtable_format *format = request->format;
	u64 frames = (format->addr_mask >> format->page_shift) + 1;
	u64 vpn = range->start >> format->page_shift, nr;
	u64 left = (range->last >> format->page_shift) - vpn + 1;
	int error = 0;

	for (; left && !error; vpn += nr, left -= nr) {
		u64 pfn = vpn & (frames - 1);

		nr = min_t(u64, left, frames - pfn);
		error = pgtable_map(table, vpn << format->page_shift, pfn, nr, PTE_WRITE | PTE_USER,
				    request->huge);
	}
	return error;
}

static int map_ranges(const struct request *request, struct pgtable *table)
{
	for (int i = 0; i < request->nr_ranges; i++) {
		int error = map_range(request, table, &request->ranges[i]);

		if (error)
			return complain("--map: %s: cannot be mapped: %s", request->ranges[i].text,
					strerror(-error));
	}
	return EXIT_OK;
}

static void print_built(const struct request *request, struct pgtable *table)
{
	char text[BYTES_TEXT_SIZE];
	struct pgtable_use use;

	puts("");
	print_tree(table, request->all ? ULONG_MAX : TREE_LINES);
	pgtable_count(table, &use);
	puts("\nmemory of these tables");
	for (unsigned int level = request->format->levels; level; level--)
		printf("  level %u  %s\n", level, bytes_text(use.bytes[level], text));
	printf("  all      %s in %llu pages (nr_page_table_pages)\n",
	       bytes_text(use.total_bytes, text), (unsigned long long)table->nr_tables);
	printf("  VmPTE    %llu kB, as /proc/PID/status counts: levels 1 to 3, no root\n",
	       (unsigned long long)use.vm_pte_bytes >> 10);
}

static int build(const struct request *request, struct pgtable **table)
{
	int error = pgtable_create(request->format, table);

	if (error)
		return complain("%s: no page table: %s", request->format->name, strerror(-error));
	return map_ranges(request, *table);
}

static void print_cuts(const struct request *request)
{
	char cut[FORMAT_CUT_SIZE];

	format_cut(request->format, cut);
	printf("format %s: %s, %u level%s, entries of %u bytes\n\n", request->format->name, cut,
	       request->format->levels, request->format->levels > 1 ? "s" : "",
	       request->format->entry_bytes);
	for (int i = 0; i < request->nr_addresses; i++)
		print_cut(request->format, request->addresses[i]);
	for (int i = 0; i < request->nr_ranges && !request->nr_addresses; i++)
		print_cut(request->format, request->ranges[i].start);
}

static int show(const struct request *request)
{
	struct pgtable *table = NULL;
	struct kmm *machine;
	struct kmm_leaks leaks;
	struct pgtable_use use;
	char text[BYTES_TEXT_SIZE];
	int status;

	format_sum(request->format, request->ranges, request->nr_ranges, &use);
	/* With larger pages, where the format has them, the tables take less than the sum. */
	if (!(request->huge && request->format->leaf_levels > 1) &&
	    use.total_bytes > MAX_BUILT_BYTES) {
		print_cuts(request);
		printf("\ntables of %s are summed here and not built\n\n",
		       bytes_text(use.total_bytes, text));
		print_sums(request->format, request->ranges, request->nr_ranges);
		return EXIT_OK;
	}
	status = boot_machine(&request->common, &machine);
	if (status)
		return status;
	status = build(request, &table);
	if (!status) {
		print_cuts(request);
		print_built(request, table);
		puts("");
		print_sums(request->format, request->ranges, request->nr_ranges);
	}
	pgtable_destroy(table);
	kmm_shutdown(machine, &leaks);
	return status;
}

static int check_addresses(const struct request *request)
{
	for (int i = 0; i < request->nr_addresses; i++) {
		struct va_range range = {request->addresses[i], request->addresses[i], NULL};

		if (!format_has_range(request->format, &range))
			return complain("--address: %#llx: not an address of %s",
					(unsigned long long)request->addresses[i],
					request->format->name);
	}
	return EXIT_OK;
}

/* EXIT_FAILED where the tables are not what the kernel said. */
static int print_pid(const struct request *request, struct pgtable *table,
		     const struct pid_pages *pages)
{
	struct pgtable_use use;

	printf("process %ld: %llu mappings, %llu pages present, %llu swapped%s\n", request->pid,
	       (unsigned long long)pages->nr_mappings, (unsigned long long)pages->nr_present,
	       (unsigned long long)pages->nr_swapped,
	       pages->frames_shown ? "" : "; the kernel does not show their frames");
	printf("%llu translations are not as the kernel has them; %llu have changed since\n",
	       (unsigned long long)pages->nr_wrong, (unsigned long long)pages->nr_changed);
	print_built(request, table);
	pgtable_count(table, &use);
	printf("  the kernel's VmPTE: %llu kB", (unsigned long long)pages->vm_pte_bytes >> 10);
	if (use.vm_pte_bytes != pages->vm_pte_bytes)
		printf(request->huge
			       ? " (it may have pages of 4 KiB where these tables have larger ones)"
			       : " (it keeps tables that were used once, and those of swapped "
				 "pages)");
	putchar('\n');
	return pages->nr_wrong ? EXIT_FAILED : EXIT_OK;
}

static int check_pid(const struct request *request)
{
	struct pgtable *table = NULL;
	struct pid_pages pages;
	struct kmm_leaks leaks;
	struct kmm *machine;
	int status;

	if (request->format != &pgtable_x86_64 && request->format != &pgtable_la57)
		return complain("--pid: %s: only x86_64 and la57 have room for a process",
				request->format->name);
	status = boot_machine(&request->common, &machine);
	if (status)
		return status;
	if (pgtable_create(request->format, &table))
		status = complain("%s: no page table: no memory", request->format->name);
	else
		status = pid_map(request->pid, table, request->huge, &pages);
	if (!status)
		status = print_pid(request, table, &pages);
	pgtable_destroy(table);
	kmm_shutdown(machine, &leaks);
	return status;
}

int command_pagetable(int argc, char **argv)
{
	struct request request = {.format = &pgtable_x86_64};
	int option, status;

	common_options_init(&request.common);
	while ((option = next_option(argc, argv, "", long_options)) >= 0) {
		if (option == OPTION_HELP)
			return help();
		status = take_option(&request, option);
		if (status)
			return status;
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	if (request.pid && (request.nr_ranges || optind < argc))
		return complain("--pid: not with ranges to map");
	if (request.pid && request.nr_addresses)
		return complain("--pid: not with addresses to cut");
	if (request.pid)
		return check_pid(&request);
	if (!request.nr_ranges && (!request.nr_addresses || optind < argc))
		return complain("pagetable wants --map RANGE, --address ADDRESS or --pid PID; "
				"kmm pagetable --help says more");
	for (; optind < argc; optind++)
		if ((status = add_range(&request, argv[optind])))
			return status;
	status = check_ranges(&request);
	if (!status)
		status = check_addresses(&request);
	if (!status && !request.nr_ranges)
		print_cuts(&request);
	else if (!status)
		status = show(&request);
	return status;
}
