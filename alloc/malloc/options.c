/* SPDX-License-Identifier: MIT */
/*
 * KMM_OPTIONS=name=value,name=value... in the environment, and KMM_STATS=1.
 *
 *	node_bytes	bytes of the machine's memory (a node's), with K, M or G; default: the host's memory
 *	classes		fine (default) or kernel: the sizes of objects, as kmm_config.kmalloc_classes
 *	slub_debug	F, Z, P, U: debugging of every object, as the kernel's parameter of that name; with
 *			names of caches, + stands for its commas: FZ+kmalloc-64
 *	pcp_batch, pcp_high	pages that a thread's lists move at once, and hold at most
 *	thp		always: ask for huge pages; never (default): ask for none
 *	trim_ms		how long idle memory stays before it goes back to the host, in milliseconds; 0:
 *			until malloc_trim. Default 500
 *
 * Read while the heap is made: nothing here may call malloc, nor expect that the C library has been
 * initialised. Until it has, its `environ` is NULL; then the environment is found where the kernel laid
 * it, behind the arguments on the stack.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "malloc/heap.h"

#define TRIM_MS 500

/* Pages of a thread's lists, of each order: what it may keep from the host while it sleeps. */
#define PCP_BATCH 8
#define PCP_HIGH  32

extern void *__libc_stack_end; /* the loader's: where the kernel laid argc */

struct option {
	const char *name;
	/* Takes a value, which ends with '\0'; false if it is none. */
	bool (*take)(const char *value, struct kmm_config *config);
};

/* The machine keeps no copy of this one before it is booted. */
static char slub_debug[256];

static const char *find_env(const char *name)
{
	char **env = environ;
	size_t length = strlen(name);

	if (!env) {
		long *argc = __libc_stack_end;

		env = (char **)(argc + 1) + *argc + 1;
	}
	for (; *env; env++)
		if (!strncmp(*env, name, length) && (*env)[length] == '=')
			return *env + length + 1;
	return NULL;
}

static bool take_number(const char *value, u64 most, u64 *number)
{
	unsigned int shift = 0;
	char *end;

	if (*value < '0' || *value > '9')
		return false;
	errno = 0;
	*number = strtoul(value, &end, 0);
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	default:
		break;
	}
	end += shift != 0;
	if (errno || *end || *number > most >> shift)
		return false;
	*number <<= shift;
	return true;
}

static bool take_node_bytes(const char *value, struct kmm_config *config)
{
	return take_number(value, 1UL << 44, &config->node_bytes) &&
	       config->node_bytes >= 16UL << 20;
}

static bool take_slub_debug(const char *value, struct kmm_config *config)
{
	if (strlen(value) >= sizeof(slub_debug))
		return false;
	strcpy(slub_debug, value);
	for (char *c = slub_debug; *c; c++)
		if (*c == '+')
			*c = ',';
	config->slub_debug = slub_debug;
	return true;
}

static bool take_uint(const char *value, u64 most, unsigned int *number)
{
	u64 wide;

	if (!take_number(value, most, &wide))
		return false;
	*number = (unsigned int)wide;
	return true;
}

static bool take_pcp_batch(const char *value, struct kmm_config *config)
{
	return take_uint(value, 65536, &config->pcp_batch);
}

static bool take_pcp_high(const char *value, struct kmm_config *config)
{
	return take_uint(value, 65536, &config->pcp_high);
}

static bool take_thp(const char *value, struct kmm_config *config)
{
	config->no_thp = !strcmp(value, "never");
	return config->no_thp || !strcmp(value, "always");
}

static bool take_trim_ms(const char *value, struct kmm_config *config)
{
	(void)config;
	return take_uint(value, 3600000, &heap.trim_ms);
}

static bool take_classes(const char *value, struct kmm_config *config)
{
	config->kmalloc_classes =
		strcmp(value, "fine") ? KMALLOC_CLASSES_KERNEL : KMALLOC_CLASSES_FINE;
	return !strcmp(value, "fine") || !strcmp(value, "kernel");
}

static const struct option options[] = {
	{"classes", take_classes},	 {"node_bytes", take_node_bytes},
	{"slub_debug", take_slub_debug}, {"pcp_batch", take_pcp_batch},
	{"pcp_high", take_pcp_high},	 {"thp", take_thp},
	{"trim_ms", take_trim_ms},
};

static bool take_option(const char *word, size_t length, struct kmm_config *config)
{
	size_t name = strcspn(word, "=");
	char value[256];

	if (name >= length || length - name > sizeof(value))
		return false;
	memcpy(value, word + name + 1, length - name - 1);
	value[length - name - 1] = '\0';
	for (unsigned int i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == name && !strncmp(options[i].name, word, name))
			return options[i].take(value, config);
	return false;
}

void options_complain(const char *what)
{
	char line[320];
	int n = snprintf(line, sizeof(line), "kmm: KMM_OPTIONS: %s\n", what);

	if (write(STDERR_FILENO, line, min_t(size_t, n, sizeof(line) - 1)) < 0)
		return; /* nowhere to say it */
}

static void complain_of(const char *word, size_t length)
{
	char what[160];

	snprintf(what, sizeof(what), "'%.*s' is no option of this library",
		 (int)min_t(size_t, length, 80), word);
	options_complain(what);
}

void options_read(struct kmm_config *config, struct kmm_config *defaults)
{
	const char *text = find_env("KMM_OPTIONS"), *stats = find_env("KMM_STATS");

	*defaults = (struct kmm_config){.layout = ZONES_PLAIN,
					.kmalloc_classes = KMALLOC_CLASSES_FINE,
					.late_classes = true,
					.no_watermarks = true,
					.pcp_batch = PCP_BATCH,
					.pcp_high = PCP_HIGH,
					.no_thp = true};
	*config = *defaults;
	if (stats && *stats && strcmp(stats, "0") != 0)
		heap.stats_fd = max_t(int, fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100), 0);
	heap.trim_ms = TRIM_MS;
	while (text && *text) {
		size_t length = strcspn(text, ",");

		if (length && !take_option(text, length, config)) {
			complain_of(text, length);
			*config = *defaults;
			heap.trim_ms = TRIM_MS;
			return;
		}
		text += length + (text[length] == ',');
	}
}
