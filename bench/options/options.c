/* SPDX-License-Identifier: MIT */
/* Parsing of the options that sub-commands share, and what follows from them: the machine and the
 * peers. */
#include "config.h"

#include "bench/options/options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/command.h"

void common_options_init(struct common_options *common)
{
	*common = (struct common_options){.results_dir = "results"};
}

int next_option(int argc, char **argv, const char *short_options, const struct option *long_options)
{
	char with_colon[64];
	int option, at = optind ? optind : 1;

	/* "+": options end where the first argument stands. It has to come first. */
	snprintf(with_colon, sizeof(with_colon), "%s:%s", *short_options == '+' ? "+" : "",
		 short_options + (*short_options == '+'));
	opterr = 0;
	option = getopt_long(argc, argv, with_colon, long_options, NULL);
	if (option == -1)
		return OPTION_END;
	if (option != '?' && option != ':')
		return option;
	/* A bad long option is the word just passed; a bad letter may stand inside a word not yet
	 * passed. */
	if (optopt > 0 && optopt < OPTION_SYNTHETIC &&
	    (at >= argc || strncmp(argv[optind - 1], "--", 2)))
		complain(option == ':' ? "-%c: needs an argument" : "-%c: unknown option", optopt);
	else if (option == ':')
		complain("%s: needs an argument", argv[optind - 1]);
	else
		complain("%s: %s", argv[optind - 1],
			 optopt ? "takes no argument" : "unknown option, or short for several");
	return OPTION_BAD;
}

int parse_size(const char *text, u64 *bytes)
{
	static const char suffixes[] = "KMGT";
	unsigned int shift = 0;
	unsigned long long number;
	const char *suffix;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (isalpha((unsigned char)*end) && (suffix = strchr(suffixes, toupper(*end)))) {
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
		end++;
		if (!strcmp(end, "iB") || !strcmp(end, "B"))
			end += strlen(end);
	}
	if (*end || !number || number > (1ULL << 63) >> shift)
		return -EINVAL;
	*bytes = number << shift;
	return 0;
}

int parse_number(const char *text, long min, long max, long *number)
{
	char *end;

	errno = 0;
	*number = strtol(text, &end, 10);
	return errno || end == text || *end || *number < min || *number > max ? -EINVAL : 0;
}

static int parse_zones(const char *word, enum zone_layout *layout)
{
	if (!strcmp(word, "x86_64"))
		*layout = ZONES_X86_64;
	else if (!strcmp(word, "i386"))
		*layout = ZONES_I386;
	else
		return complain("--zones: %s: not x86_64 or i386", word);
	return EXIT_OK;
}

static int parse_lock(const char *word, enum lock_kind *kind)
{
	int parsed = lock_kind_parse(word);

	if (parsed < 0)
		return complain("--lock: %s: not ttas, ticket, mcs or mutex", word);
	*kind = (enum lock_kind)parsed;
	return EXIT_OK;
}

static int parse_classes(const char *word, enum kmalloc_classes *classes)
{
	if (!strcmp(word, "kernel"))
		*classes = KMALLOC_CLASSES_KERNEL;
	else if (!strcmp(word, "fine"))
		*classes = KMALLOC_CLASSES_FINE;
	else
		return complain("--classes: %s: not kernel or fine", word);
	return EXIT_OK;
}

static int parse_watermark(const char *option, const char *text, long max, unsigned long *out)
{
	long number;

	if (parse_number(text, 1, max, &number))
		return complain("%s: %s: not a number from 1 to %ld", option, text, max);
	*out = (unsigned long)number;
	return EXIT_OK;
}

static int watermark_option(struct kmm_config *config, int option, const char *argument)
{
	unsigned long factor = 0;
	int status = EXIT_OK;

	switch (option) {
	case OPTION_MIN_FREE:
		return parse_watermark("--min-free-kbytes", argument, LONG_MAX,
				       &config->min_free_kbytes);
	case OPTION_SCALE_FACTOR:
		status = parse_watermark("--watermark-scale-factor", argument, 3000, &factor);
		if (!status)
			config->watermark_scale_factor = (unsigned int)factor;
		break;
	case OPTION_NO_WATERMARKS:
		config->no_watermarks = true;
		break;
	default:
		config->warn_alloc = true;
		break;
	}
	return status;
}

int common_option(struct common_options *common, int option, const char *argument)
{
	struct kmm_config *config = &common->config;

	switch (option) {
	case OPTION_SYNTHETIC:
		config->synthetic = argument;
		break;
	case OPTION_XML:
		config->xml = argument;
		break;
	case OPTION_MEMORY:
		if (parse_size(argument, &config->node_bytes))
			return complain("--memory: %s: not a size such as 512M or 2G", argument);
		break;
	case OPTION_ZONES:
		return parse_zones(argument, &config->layout);
	case OPTION_LOCK:
		return parse_lock(argument, &config->lock_kind);
	case OPTION_MIN_FREE:
	case OPTION_SCALE_FACTOR:
	case OPTION_NO_WATERMARKS:
	case OPTION_WARN_ALLOC:
		return watermark_option(config, option, argument);
	case OPTION_SLUB_DEBUG:
		config->slub_debug = argument;
		break;
	case OPTION_SLAB_NOMERGE:
		config->slab_nomerge = true;
		break;
	case OPTION_CLASSES:
		return parse_classes(argument, &config->kmalloc_classes);
	case OPTION_NO_THP:
		config->no_thp = true;
		break;
	case OPTION_RESULTS:
		common->results_dir = argument;
		break;
	case OPTION_PEER:
		if (common->nr_peers == PEER_MAX)
			return complain("--peer: %s: more than %d", argument, PEER_MAX);
		common->peers[common->nr_peers++] = argument;
		break;
	case OPTION_PAGE_PEER:
		if (common->nr_page_peers == PAGE_PEER_MAX)
			return complain("--page-peer: %s: more than %d", argument, PAGE_PEER_MAX);
		common->page_peers[common->nr_page_peers++] = argument;
		break;
	case OPTION_ALLOCATORS:
		common->allocators = argument;
		break;
	default:
		return complain("option %d is not a common one", option);
	}
	if (config->synthetic && config->xml)
		return complain("--xml: only one of --synthetic and --xml");
	return EXIT_OK;
}

/* The next word of a comma-separated list; false at its end. */
static bool next_word(const char **list, const char **word, size_t *length)
{
	*list += strspn(*list, ",");
	*word = *list;
	*length = strcspn(*list, ",");
	*list += *length;
	return *length > 0;
}

bool list_has(const char *list, const char *name)
{
	static const char *const endings[] = {"-aa", "-fine"};
	size_t name_length = strlen(name), length;
	const char *word;

	if (!list)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		length = strlen(endings[i]);
		if (name_length > length && !strcmp(name + name_length - length, endings[i]))
			name_length -= length;
	}
	while (next_word(&list, &word, &length))
		if (length == name_length && !strncmp(word, name, length))
			return true;
	return false;
}

bool list_unknown(const char *list, const char *const *names, char *word, size_t word_size)
{
	const char *start;
	size_t length;

	while (list && next_word(&list, &start, &length)) {
		const char *const *name = names;

		while (*name && (strlen(*name) != length || strncmp(*name, start, length)))
			name++;
		if (!*name) {
			snprintf(word, word_size, "%.*s", (int)length, start);
			return true;
		}
	}
	return false;
}

int boot_complain(int error)
{
	/* The user knows it by the option. */
	if (!strncmp(kmm_boot_error(), "node_bytes: ", 12))
		return complain("--memory: %s", kmm_boot_error() + 12);
	if (kmm_boot_error()[0])
		return complain("%s", kmm_boot_error());
	return complain("cannot boot the simulated machine: %s", strerror(-error));
}

int boot_machine(const struct common_options *common, struct kmm **machine)
{
	int error = kmm_boot(&common->config, machine);

	return error ? boot_complain(error) : EXIT_OK;
}
