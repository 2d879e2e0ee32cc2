/* SPDX-License-Identifier: MIT */
/* Every lock of a machine is visited, counted, and summed by name in the text. */
#include "kmm.h"

#include <errno.h>

#include "tests/tap/tap.h"

static struct kmm *boot(void)
{
	struct kmm_config config = {.synthetic = "numa:2 pu:1", .node_bytes = 64UL << 20};
	struct kmm *machine;

	if (kmm_boot(&config, &machine)) {
		printf("Bail out! no machine: %s\n", kmm_boot_error());
		exit(1);
	}
	return machine;
}

struct ending {
	struct kmem_cache *cache;
	void *others[64];
	char text[16384];
	size_t len;
};

struct tally {
	unsigned long nr, nr_slots, nr_release, acquired;
};

static void add(const char *name, const struct lock_stats *stats, void *arg)
{
	struct tally *tally = arg;

	ok(name && *name, "a lock without a name");
	ok(stats->contended <= stats->acquired, "%s", name);
	tally->nr++;
	tally->nr_slots += !strcmp(name, "slots");
	tally->nr_release += !strcmp(name, "memory release");
	tally->acquired += stats->acquired;
}

static void every_layers_locks_are_visited(void)
{
	struct kmm *machine = boot();
	struct tally before = {0}, after = {0};
	void *area;

	for_each_lock(machine, add, &before);
	/* Slots, both nodes' zones, the caches of both nodes, vmap and the kernel page tables. */
	ok(before.nr >= 1 + 2 + 2 * 13 + 2, "%lu locks", before.nr);
	ok_eq(before.nr_slots, 1);
	ok_eq(before.nr_release, 1);
	area = vmalloc(1 << 20);
	vfree(area);
	kmm_drain(machine);
	for_each_lock(machine, add, &after);
	ok_eq(after.nr, before.nr);
	ok(after.acquired > before.acquired, "%lu acquisitions after %lu", after.acquired,
	   before.acquired);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void the_text_has_a_line_a_name(void)
{
	struct kmm *machine = boot();
	struct tally sum = {0};
	char *text = NULL, *line, *rest, name[64], names[256][64];
	unsigned long acquired, contended, wait, total = 0;
	size_t size = 0, nr = 0;
	FILE *out = open_memstream(&text, &size);

	for_each_lock(machine, add, &sum);
	ok_eq(show_locks(machine, out), 0);
	fclose(out);
	line = strtok_r(text, "\n", &rest);
	ok(line && !strncmp(line, "lock ", 5) && strstr(line, "wait_cycles"), "heading: %s", line);
	while ((line = strtok_r(NULL, "\n", &rest)) && nr < 256) {
		/* Names have spaces in them, and never two. */
		ok(sscanf(line, "%63[^\n]", name) == 1 && strstr(name, "  "), "%s", line);
		*strstr(name, "  ") = '\0';
		ok(sscanf(line + strlen(name), "%lu %lu %lu", &acquired, &contended, &wait) == 3,
		   "%s", line);
		for (size_t i = 0; i < nr; i++)
			ok(strcmp(names[i], name), "%s has two lines", name);
		strcpy(names[nr++], name);
		total += acquired;
	}
	ok(nr > 4, "%zu lines", nr);
	ok(total >= sum.acquired, "%lu in lines, %lu before", total, sum.acquired);
	free(text);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void a_full_stream_is_an_error(void)
{
	struct kmm *machine = boot();
	FILE *full = fopen("/dev/full", "w");

	if (full) {
		setvbuf(full, NULL, _IONBF, 0);
		ok_eq(show_locks(machine, full), -EIO);
		fclose(full);
	}
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

/* A stream that ends a cache when the first words come, and puts something else where its name was. */
static ssize_t end_cache_and_write(void *cookie, const char *words, size_t size)
{
	struct ending *ending = cookie;
	size_t room = sizeof(ending->text) - 1 - ending->len;

	if (ending->cache) {
		kmem_cache_destroy(ending->cache);
		for (size_t i = 0; i < ARRAY_SIZE(ending->others); i++)
			ending->others[i] = memset(kmalloc(8, GFP_KERNEL), 'x', 8);
		ending->cache = NULL;
	}
	memcpy(ending->text + ending->len, words, size < room ? size : room);
	ending->len += size < room ? size : room;
	return (ssize_t)size;
}

static void a_cache_may_end_before_its_line_is_printed(void)
{
	static struct ending ending;
	struct kmm *machine = boot();
	FILE *out =
		fopencookie(&ending, "w", (cookie_io_functions_t){.write = end_cache_and_write});

	ending.cache = kmem_cache_create("briefly", 64, 0, SLAB_NO_MERGE, NULL);
	setvbuf(out, NULL, _IONBF, 0);
	ok_eq(show_locks(machine, out), 0);
	fclose(out);
	ok(!ending.cache, "nothing was written");
	ok(strstr(ending.text, "\nbriefly "), "%s", ending.text);
	for (size_t i = 0; i < ARRAY_SIZE(ending.others); i++)
		kfree(ending.others[i]);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

int main(void)
{
	RUN(every_layers_locks_are_visited);
	RUN(the_text_has_a_line_a_name);
	RUN(a_full_stream_is_an_error);
	RUN(a_cache_may_end_before_its_line_is_printed);
	return done();
}
