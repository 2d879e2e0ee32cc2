/* SPDX-License-Identifier: MIT */
/*
 * The sub-commands of `kmm`. Each is a function that takes its own argc and argv (argv[0] is its
 * name), and returns the exit status of the process. A new one is a prototype here and a line in
 * main.c's table.
 */
#ifndef KMM_BENCH_COMMAND_H
#define KMM_BENCH_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum exit_status {
	EXIT_OK = 0,
	EXIT_FAILED = 1,       /* a comparison, a self-check, or a crash */
	EXIT_BAD_INPUT = 2,    /* what the user gave, or a host that refuses: one line says what */
	EXIT_INTERRUPTED = 130 /* SIGINT; other signals 128 + their number */
};

struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
	bool peers; /* loads other allocators: peers_prepare first */
};

int command_topo(int argc, char **argv);      /* topo.c */
int command_bench(int argc, char **argv);     /* bench.c */
int command_replay(int argc, char **argv);    /* replay.c */
int command_convert(int argc, char **argv);   /* convert.c */
int command_trace(int argc, char **argv);     /* trace.c */
int command_show(int argc, char **argv);      /* show.c */
int command_pagetable(int argc, char **argv); /* pagetable.c */
int command_tlb(int argc, char **argv);	      /* tlb.c */
int command_record(int argc, char **argv);    /* record.c */
int command_script(int argc, char **argv);    /* main.c: plot, report and compare */

/* Where a script of scripts/ is. 0; or -ENOENT. */
int script_path(const char *name, char *path, size_t size); /* main.c */

/* Print `kmm: ` and the message, as one line, to stderr. Returns EXIT_BAD_INPUT, to be returned in
 * turn. */
int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* What a process returns as its last act: the status, or, where that is EXIT_OK and what was printed
 * did not reach stdout (a full disk, a closed file), EXIT_BAD_INPUT after a line. */
int stdout_flushed(int status);

#endif
