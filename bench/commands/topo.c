/* SPDX-License-Identifier: MIT */
/*
 * kmm topo: the machine as kmm sees it, in text or as hwloc's XML, and what its page allocator's
 * own data cost, for which a machine is booted. Where --memory was given and this host cannot have
 * that machine, that is bad input, as what no host could have is; without it, that part is left out
 * and why is said.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/options/options.h"

enum { OPTION_EXPORT_XML = 1, OPTION_HELP };

static const struct option long_options[] = {
	MACHINE_OPTIONS,
	{"export-xml", no_argument, NULL, OPTION_EXPORT_XML},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

static int help(void)
{
	fputs("Usage: kmm topo [OPTION]...\n"
	      "Print packages, NUMA nodes with their memory and CPUs, and distances; and what the "
	      "page allocator's\n"
	      "own data (mem_map and the rest) cost on a machine with the memory simulated by "
	      "default or as given.\n\n"
	      "      --export-xml        print hwloc's XML instead, for --xml "
	      "elsewhere\n" MACHINE_HELP,
	      stdout);
	return EXIT_OK;
}

static void print_part(const char *name, u64 bytes, u64 memory_bytes, const char *remark)
{
	printf("  %-14s %12llu bytes  %7.4f %%%s\n", name, (unsigned long long)bytes,
	       100.0 * (double)bytes / (double)memory_bytes, remark);
}

/* The exercise of many a textbook, beside which ours is to be seen. */
static void print_classic(void)
{
	const u64 struct_bytes = 40, memory_bytes = 1ULL << 30;
	const u64 bytes = memory_bytes / PAGE_SIZE * struct_bytes;

	printf("classic exercise: struct page of %llu bytes, %llu GiB in frames of %lu bytes: %llu "
	       "MiB, %.4f %%\n",
	       (unsigned long long)struct_bytes, (unsigned long long)memory_bytes >> 30, PAGE_SIZE,
	       (unsigned long long)bytes >> 20, 100.0 * (double)bytes / (double)memory_bytes);
}

/* machine: NULL if it could not be booted. */
static void print_metadata(struct kmm *machine)
{
	struct phys_metadata metadata;
	char remark[64];

	if (!machine) {
		printf("memory    not simulated: %s\n", kmm_boot_error());
		return;
	}
	phys_metadata(machine, &metadata);
	snprintf(remark, sizeof(remark), "  struct page of %zu bytes for each frame",
		 sizeof(struct page));
	printf("memory    %llu MiB simulated, in frames of %lu bytes\n",
	       (unsigned long long)metadata.memory_bytes >> 20, PAGE_SIZE);
	puts("what the page allocator's own data cost of it, with one CPU's lists made");
#define X(name, text)                                                                              \
	print_part(text, metadata.name##_bytes, metadata.memory_bytes,                             \
		   !strcmp(text, "mem_map") ? remark : "");
	PHYS_METADATA(X)
#undef X
	print_part("all", metadata.total_bytes, metadata.memory_bytes, "");
	print_part("at most", metadata.most_bytes, metadata.memory_bytes,
		   "  once every frame has been used");
	print_classic();
}

static int print_topology(const struct common_options *common, bool export_xml)
{
	struct topology *topology;
	struct kmm *machine = NULL;
	struct kmm_leaks leaks;
	char error_line[256];
	int error;

	if (topology_load(common->config.synthetic, common->config.xml, &topology, error_line,
			  sizeof(error_line)))
		return complain("%s", error_line);
	error = export_xml ? 0 : kmm_boot(&common->config, &machine);
	if (error == -EINVAL || (error && common->config.node_bytes)) {
		topology_free(topology);
		return boot_complain(error);
	}
	error = export_xml ? topology_print_xml(topology, stdout)
			   : topology_print(topology, stdout);
	topology_free(topology);
	if (!error && !export_xml)
		print_metadata(machine);
	if (machine)
		kmm_shutdown(machine, &leaks);
	if (!error && fflush(stdout))
		error = -errno;
	return error ? complain("cannot print the topology: %s", strerror(-error)) : EXIT_OK;
}

int command_topo(int argc, char **argv)
{
	struct common_options common;
	bool export_xml = false;
	int option, status;

	common_options_init(&common);
	while ((option = next_option(argc, argv, "", long_options)) >= 0) {
		if (option == OPTION_HELP)
			return help();
		if (option == OPTION_EXPORT_XML)
			export_xml = true;
		else if ((status = common_option(&common, option, optarg)))
			return status;
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	if (optind < argc)
		return complain("%s: topo takes no argument", argv[optind]);
	return print_topology(&common, export_xml);
}
