/* SPDX-License-Identifier: MIT */
/*
 * The kmm command: finds the sub-command, and prints help and version. Sub-commands are in files of
 * their own (command.h); plot, report and compare are scripts, run from the data folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/compiler.h"
#include "bench/build.h"
#include "bench/command.h"
#include "bench/peer.h"
#include "config.h"

static const struct command commands[] = {
	{"topo", "the machine as found: packages, nodes, CPUs, distances", command_topo, false},
	{"bench", "measure kmm and other allocators, and replay traces", command_bench, true},
	{"replay", "a trace against one or more allocators", command_replay, true},
	{"record", "the malloc calls of a program, or the kernel's, as traces", command_record, false},
	{"convert", "other programs' traces to .kmt", command_convert, false},
	{"trace", "look at traces; cut and merge them", command_trace, false},
	{"show", "the state of a machine, as /proc shows the kernel's", command_show, false},
	{"pagetable", "page tables of any format, for any addresses", command_pagetable, false},
	{"tlb", "what a processor's TLBs make of a trace or a pattern", command_tlb, false},
	{"plot", "draw the figures of a run", command_script, false},
	{"report", "write the report page of a run", command_script, false},
	{"compare", "compare two runs, case by case", command_script, false},
};

static int help(void)
{
	printf("Usage: kmm COMMAND [OPTION]... [ARGUMENT]...\n"
	       "Linux's memory management cores in user space, measured.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	printf("\n      --help     this text; `kmm COMMAND --help' says more\n"
	       "      --version  which kmm this is\n");
	return EXIT_OK;
}

static int version(void)
{
	printf("kmm %s (%s)\n", PACKAGE_VERSION, KMM_REVISION);
	return EXIT_OK;
}

/* Where the scripts are: told by the environment, beside the sources when run from a build tree, or
 * installed. */
int script_path(const char *name, char *path, size_t size)
{
	const char *told = getenv("KMM_DATADIR");
	const char *const folders[] = {told, told ? NULL : KMM_SOURCE_SCRIPTS,
				       told ? NULL : KMM_PKGDATADIR};
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	bool installed = length > 0 && !strncmp(self, KMM_BINDIR "/", strlen(KMM_BINDIR "/"));

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		if (!folders[i] || (installed && i == 1))
			continue;
		if ((size_t)snprintf(path, size, "%s/%s", folders[i], name) < size &&
		    !access(path, X_OK))
			return 0;
	}
	return -ENOENT;
}

int command_script(int argc, char **argv)
{
	char path[PATH_MAX], **command;
	int error;

	if (script_path(argv[0], path, sizeof(path)))
		return complain(
			"%s: no such script in the data folder (KMM_DATADIR says where it is)",
			argv[0]);
	command = calloc((size_t)argc + 2, sizeof(*command));
	if (!command)
		return complain("no memory");
	command[0] = "python3";
	command[1] = path;
	memcpy(command + 2, argv + 1, (size_t)argc * sizeof(*command)); /* with its NULL */
	execvp(command[0], command);
	error = errno;
	free(command);
	if (error == ENOENT)
		return complain("%s: python3 is not installed (Debian: python3)", argv[0]);
	return complain("%s: python3: %s", argv[0], strerror(error));
}

/* A closed one would be the first file opened, and what is printed would go there. Printing to a
 * closed stdout still fails: it is open for reading. */
static void open_standard_files(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDONLY);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int run(int argc, char **argv)
{
	int error;

	if (argc < 2)
		return complain("which command? see `kmm --help'");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return help();
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		return version();
	if (argv[1][0] == '-')
		return complain("%s: unknown option; see `kmm --help'", argv[1]);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		if (argc > 2 && !strcmp(argv[2], "--version"))
			return version();
		if (commands[i].peers && (error = peers_prepare(argv)))
			return complain("cannot start again: %s", strerror(-error));
		return commands[i].run(argc - 1, argv + 1);
	}
	return complain("%s: unknown command; see `kmm --help'", argv[1]);
}

int main(int argc, char **argv)
{
	open_standard_files();
	/* Started again through /proc/self/exe, it would be "exe" to perf and ps. */
	prctl(PR_SET_NAME, "kmm");
	return stdout_flushed(run(argc, argv));
}
