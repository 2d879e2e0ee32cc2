/* SPDX-License-Identifier: MIT */
/*
 * machine.json: what a run ran on, with what, and how. Gathered once into memory by
 * results_describe, so that the commit only adds what is known at the end, the noise floor. What
 * cannot be read is null.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/machine.h"
#include "bench/build.h"
#include "bench/results/results_internal.h"
#include "config.h"

static void json_string(FILE *out, const char *text)
{
	if (!text) {
		fputs("null", out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ')
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void member(FILE *out, const char *name, const char *text)
{
	fprintf(out, "  \"%s\": ", name);
	json_string(out, text);
	fputs(",\n", out);
}

/* The first line of a file, or NULL. */
static const char *first_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	char *got;

	if (!file)
		return NULL;
	got = fgets(line, (int)size, file);
	fclose(file);
	if (got)
		got[strcspn(got, "\n")] = '\0';
	return got;
}

/* What stands behind "key<blank>:" in a file of such lines, or NULL. */
static const char *value_of(const char *path, const char *key, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	const char *value = NULL;

	while (file && !value && fgets(line, (int)size, file)) {
		char *colon = strchr(line, ':');

		if (!colon || strncmp(line, key, strlen(key)) ||
		    isalnum((unsigned char)line[strlen(key)]))
			continue;
		line[strcspn(line, "\n")] = '\0';
		value = colon + 1 + strspn(colon + 1, " \t");
	}
	if (file)
		fclose(file);
	return value;
}

/* "always [madvise] never": the word in brackets. */
static const char *thp_setting(char *line, size_t size)
{
	const char *got = first_line("/sys/kernel/mm/transparent_hugepage/enabled", line, size);
	char *open = got ? strchr(line, '[') : NULL, *close = open ? strchr(open, ']') : NULL;

	if (!close)
		return got;
	*close = '\0';
	return open + 1;
}

static void print_host(FILE *out)
{
	struct utsname names;
	char text[512];
	time_t now = time(NULL);

	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	member(out, "date", text);
	if (!uname(&names)) {
		member(out, "host", names.nodename);
		snprintf(text, sizeof(text), "%s %s %s", names.sysname, names.release,
			 names.machine);
		member(out, "kernel", text);
	}
	member(out, "cpu_model", value_of("/proc/cpuinfo", "model name", text, sizeof(text)));
	fprintf(out, "  \"cpus_online\": %ld,\n", sysconf(_SC_NPROCESSORS_ONLN));
	fprintf(out, "  \"memory_bytes\": %" PRIu64 ",\n",
		(uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
	member(out, "governor",
	       first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", text,
			  sizeof(text)));
	member(out, "transparent_hugepage", thp_setting(text, sizeof(text)));
	member(out, "compiler", KMM_COMPILER);
	member(out, "flags", KMM_CFLAGS);
	member(out, "version", PACKAGE_VERSION);
	member(out, "revision", KMM_REVISION);
	fprintf(out, "  \"checks\": %d,\n", KMM_CHECKS);
}

static void print_topology(FILE *out, const struct topology *topology)
{
	fprintf(out, "  \"emulated\": %s,\n", topology_emulated(topology) ? "true" : "false");
	member(out, "topology", topology_description(topology));
	fprintf(out, "  \"cpus\": %u,\n  \"nodes\": [", topology_nr_cpus(topology));
	for (unsigned int nid = 0; nid < topology_nr_nodes(topology); nid++) {
		const struct topology_node *node = topology_node(topology, (int)nid);

		fprintf(out,
			"%s\n    { \"os_index\": %d, \"memory_bytes\": %" PRIu64 ", \"cpus\": %u }",
			nid ? "," : "", node->os_index, node->memory_bytes, node->nr_cpus);
	}
	fputs("\n  ],\n", out);
}

static void print_config(FILE *out, const struct kmm_config *config)
{
	static const char *const boolean[] = {"false", "true"};

	fputs("  \"config\": {\n    \"synthetic\": ", out);
	json_string(out, config->synthetic);
	fputs(",\n    \"xml\": ", out);
	json_string(out, config->xml);
	fprintf(out, ",\n    \"node_bytes\": %" PRIu64 ",\n    \"shared_bytes\": %" PRIu64 ",\n",
		config->node_bytes, config->shared_bytes);
	fprintf(out, "    \"zones\": \"%s\",\n    \"lock\": \"%s\",\n",
		config->layout == ZONES_I386 ? "i386" : "x86_64",
		lock_kind_name(config->lock_kind));
	fprintf(out, "    \"pcp_batch\": %u,\n    \"pcp_high\": %u,\n    \"no_pcp\": %s,\n",
		config->pcp_batch, config->pcp_high, boolean[config->no_pcp]);
	fprintf(out, "    \"min_free_kbytes\": %lu,\n    \"watermark_scale_factor\": %u,\n",
		config->min_free_kbytes, config->watermark_scale_factor);
	fprintf(out, "    \"no_watermarks\": %s,\n    \"warn_alloc\": %s,\n",
		boolean[config->no_watermarks], boolean[config->warn_alloc]);
	fputs("    \"slub_debug\": ", out);
	json_string(out, config->slub_debug);
	fprintf(out, ",\n    \"slab_nomerge\": %s,\n", boolean[config->slab_nomerge]);
	fprintf(out, "    \"kmalloc_classes\": \"%s\",\n",
		config->kmalloc_classes == KMALLOC_CLASSES_FINE ? "fine" : "kernel");
	fprintf(out, "    \"no_thp\": %s,\n    \"no_bind\": %s\n  },\n", boolean[config->no_thp],
		boolean[config->no_bind]);
}

static void print_peers(FILE *out, const struct object_peer *peers, int nr_peers)
{
	fputs("  \"allocators\": [", out);
	for (int i = 0; i < nr_peers; i++) {
		fprintf(out, "%s\n    { \"name\": ", i ? "," : "");
		json_string(out, peers[i].name);
		fputs(", \"version\": ", out);
		json_string(out, peers[i].version);
		fputs(", \"path\": ", out);
		json_string(out, peers[i].path);
		fputs(", \"settings\": ", out);
		json_string(out, peers[i].settings);
		fputs(" }", out);
	}
	fputs("\n  ],\n", out);
}

int results_describe(struct results *results, struct kmm *machine, const struct object_peer *peers,
		     int nr_peers, int argc, char **argv)
{
	size_t size;
	FILE *out;

	free(results->machine_json);
	results->machine_json = NULL;
	out = open_memstream(&results->machine_json, &size);
	if (!out)
		return -errno;
	print_host(out);
	print_topology(out, machine->topology);
	print_config(out, &machine->config);
	print_peers(out, peers, nr_peers);
	fputs("  \"options\": [", out);
	for (int i = 0; i < argc; i++) {
		fputs(i ? ", " : "", out);
		json_string(out, argv[i]);
	}
	fputs("],\n", out);
	if (fclose(out))
		return -errno;
	journal_text(results, JOURNAL_MACHINE, results->machine_json);
	return 0;
}

void machine_json_print(const struct results *results, FILE *out)
{
	fprintf(out, "{\n%s", results->machine_json ? results->machine_json : "");
	member(out, "incomplete", results->incomplete);
	fprintf(out, "  \"aa_pairs\": %d,\n  \"noise_floor\": ", results->nr_aa_pairs);
	if (isfinite(results->noise_floor))
		fprintf(out, "%.6f\n}\n", results->noise_floor);
	else
		fputs("null\n}\n", out);
}
