/* SPDX-License-Identifier: MIT */
/* kmm topo: the machine as kmm sees it, in text or as hwloc's XML. Boots nothing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/options.h"

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
	      "Print packages, NUMA nodes with their memory and CPUs, and distances.\n\n"
	      "      --export-xml        print hwloc's XML instead, for --xml "
	      "elsewhere\n" MACHINE_HELP,
	      stdout);
	return EXIT_OK;
}

int command_topo(int argc, char **argv)
{
	struct common_options common;
	struct topology *topology;
	bool export_xml = false;
	char error_line[256];
	int option, status, error;

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
	if (topology_load(common.config.synthetic, common.config.xml, &topology, error_line,
			  sizeof(error_line)))
		return complain("%s", error_line);
	error = export_xml ? topology_print_xml(topology, stdout)
			   : topology_print(topology, stdout);
	topology_free(topology);
	if (!error && fflush(stdout))
		error = -errno;
	return error ? complain("cannot print the topology: %s", strerror(-error)) : EXIT_OK;
}
