/* SPDX-License-Identifier: MIT */
/*
 * Options that the sub-commands share: what machine is simulated, which allocators take part, where
 * results go.
 *
 *	static const struct option long_options[] = {
 *		COMMON_OPTIONS,
 *		{ "order", required_argument, NULL, 'o' },
 *		{ 0 },
 *	};
 *	while ((opt = next_option(argc, argv, "o:", long_options)) >= 0) {
 *		if (opt == 'o') ...
 *		else if ((status = common_option(&common, opt, optarg)))
 *			return status;
 *	}
 *	if (opt == OPTION_BAD)
 *		return EXIT_BAD_INPUT;
 */
#ifndef KMM_BENCH_OPTIONS_H
#define KMM_BENCH_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "bench/peers/page_peers.h"
#include "bench/peer.h"
#include "kmm.h"

enum {
	OPTION_END = -1, /* the rest of argv, from optind, is not options */
	OPTION_BAD = -2, /* complained of already */
	OPTION_SYNTHETIC = 0x1000,
	OPTION_XML,
	OPTION_MEMORY,
	OPTION_ZONES,
	OPTION_LOCK,
	OPTION_MIN_FREE,
	OPTION_SCALE_FACTOR,
	OPTION_NO_WATERMARKS,
	OPTION_WARN_ALLOC,
	OPTION_SLUB_DEBUG,
	OPTION_SLAB_NOMERGE,
	OPTION_CLASSES,
	OPTION_NO_THP,
	OPTION_RESULTS,
	OPTION_PEER,
	OPTION_PAGE_PEER,
	OPTION_ALLOCATORS,
};

/* clang-format off */
#define MACHINE_OPTIONS                                                                            \
	{ "synthetic", required_argument, NULL, OPTION_SYNTHETIC },                                \
	{ "xml", required_argument, NULL, OPTION_XML },                                            \
	{ "memory", required_argument, NULL, OPTION_MEMORY },                                      \
	{ "zones", required_argument, NULL, OPTION_ZONES },                                        \
	{ "lock", required_argument, NULL, OPTION_LOCK },                                          \
	{ "min-free-kbytes", required_argument, NULL, OPTION_MIN_FREE },                   \
	{ "watermark-scale-factor", required_argument, NULL, OPTION_SCALE_FACTOR },        \
	{ "no-watermarks", no_argument, NULL, OPTION_NO_WATERMARKS },                      \
	{ "warn-alloc", no_argument, NULL, OPTION_WARN_ALLOC },                            \
	{ "slub-debug", required_argument, NULL, OPTION_SLUB_DEBUG },                              \
	{ "slab-nomerge", no_argument, NULL, OPTION_SLAB_NOMERGE },                                \
	{ "classes", required_argument, NULL, OPTION_CLASSES },                                    \
	{ "no-thp", no_argument, NULL, OPTION_NO_THP }

#define COMMON_OPTIONS                                                                             \
	MACHINE_OPTIONS,                                                                           \
	{ "results", required_argument, NULL, OPTION_RESULTS },                                    \
	{ "peer", required_argument, NULL, OPTION_PEER },                                          \
	{ "page-peer", required_argument, NULL, OPTION_PAGE_PEER },                                \
	{ "allocators", required_argument, NULL, OPTION_ALLOCATORS }
/* clang-format on */

/* The lines of --help for them. */
#define MACHINE_HELP                                                                               \
	"      --synthetic STRING  an hwloc synthetic topology instead of this host\n"             \
	"      --xml FILE          a topology from an hwloc XML file\n"                            \
	"      --memory SIZE       simulated memory per node (K, M, G)\n"                          \
	"      --zones LAYOUT      x86_64 or i386\n"                                               \
	"      --lock KIND         ttas, ticket, mcs or mutex\n"                                   \
	"      --min-free-kbytes N  what all zones together keep free (default: as the kernel)\n"  \
	"      --watermark-scale-factor N  between watermarks, in 1/10000 of a zone (10)\n"        \
	"      --no-watermarks     no zone keeps anything: anybody may take the last page\n"       \
	"      --warn-alloc        a line on stderr about the first allocation that fails\n"       \
	"      --slub-debug FLAGS  debug caches, as the kernel: [FZPU-][,CACHE...][;...]\n"        \
	"      --slab-nomerge      like caches stay apart\n"                                       \
	"      --classes SET       kmalloc's sizes: kernel or fine (waste of a ninth at most)\n"   \
	"      --no-thp            no huge pages under the simulated memory\n"
#define COMMON_HELP                                                                                \
	MACHINE_HELP                                                                               \
	"      --results DIR       where runs are kept (default: results)\n"                       \
	"      --peer NAME=LIB     one more malloc library to measure; repeatable\n"               \
	"      --page-peer [NAME=]LIB  one more page allocator (see bench/peer.h); repeatable\n"   \
	"      --allocators LIST   only these, separated by commas\n"

struct common_options {
	struct kmm_config config;
	const char *results_dir;
	const char *peers[PEER_MAX]; /* as given: a known name, or NAME=/path/lib.so */
	int nr_peers;
	const char *page_peers[PAGE_PEER_MAX]; /* as given: LIB, or NAME=LIB */
	int nr_page_peers;
	const char *allocators; /* comma-separated, or NULL for all */
};

/* Every field its default. */
void common_options_init(struct common_options *common);

/*
 * The next option, as getopt_long says it; OPTION_END; or OPTION_BAD after the one line of
 * complaint. short_options without a leading colon.
 */
int next_option(int argc, char **argv, const char *short_options,
		const struct option *long_options);

/* Take one of the options above. EXIT_OK, or EXIT_BAD_INPUT after the one line of complaint. */
int common_option(struct common_options *common, int option, const char *argument);

/* "512M", "2G", "4096", "64K" as bytes. 0; -EINVAL for all else, 0 bytes, and above 2^63. */
int parse_size(const char *text, u64 *bytes);

/* A whole number from min to max. 0 or -EINVAL. */
int parse_number(const char *text, long min, long max, long *number);

/* Is name in the comma-separated list? NULL lists all. "kmm-aa" and "kmm-fine" are in it where
 * "kmm" is. */
bool list_has(const char *list, const char *name);
/* The first word of list that is not one of names (NULL-terminated), copied to word; false: all
 * are. */
bool list_unknown(const char *list, const char *const *names, char *word, size_t word_size);

/* Boot what the options say. EXIT_OK, or EXIT_BAD_INPUT after the one line of complaint. */
int boot_machine(const struct common_options *common, struct kmm **machine);
/* Say why kmm_boot has failed with error. EXIT_BAD_INPUT. */
int boot_complain(int error);

/*
 * Load the peers that the options ask for: every known one in --allocators, and every --peer. Those
 * that are not installed are named in missing[] (room for PEER_MAX). A --peer that cannot be loaded
 * is bad input. *nr_peers and *nr_missing are set; EXIT_OK or EXIT_BAD_INPUT.
 */
int load_peers(const struct common_options *common, struct object_peer *peers, int *nr_peers,
	       const char **missing, int *nr_missing);

/*
 * Load the page allocators of --page-peer, whose names must differ from those of peers. With a
 * machine, give each memory like the machine's, for nr_cpus threads. EXIT_OK and *nr_page_peers set,
 * or EXIT_BAD_INPUT after the one line of complaint; those started must be stopped either way.
 */
int load_page_peers(const struct common_options *common, const struct object_peer *peers,
		    int nr_peers, const struct kmm *machine, unsigned int nr_cpus,
		    struct object_peer *page_peers, int *nr_page_peers);
void stop_page_peers(const struct object_peer *page_peers, int nr_page_peers);

/* Say so on stderr, in a line. Once all else is known to be right: bad input is to be one line. */
void say_missing(const char *const *missing, int nr_missing);

#endif
