/* SPDX-License-Identifier: MIT */
/* The text of slabinfo, read back as slabtop reads it. */
#include "../slab/machine.h"

static struct kmm *machine;

struct row {
	char name[64];
	unsigned long active_objs, num_objs, objsize, objperslab, pagesperslab;
	unsigned long limit, batchcount, sharedfactor, active_slabs, num_slabs, sharedavail;
};

static bool parse_row(const char *line, struct row *r)
{
	int end = 0;
	int n = sscanf(line,
		       "%63s %lu %lu %lu %lu %lu : tunables %lu %lu %lu : slabdata %lu %lu %lu\n%n",
		       r->name, &r->active_objs, &r->num_objs, &r->objsize, &r->objperslab,
		       &r->pagesperslab, &r->limit, &r->batchcount, &r->sharedfactor,
		       &r->active_slabs, &r->num_slabs, &r->sharedavail, &end);

	return n == 12 && line[end] == '\0';
}

static void count_cache(const struct slab_info *info, void *arg)
{
	(void)info;
	++*(int *)arg;
}

static void each_cache_is_a_row_with_its_figures(void)
{
	struct kmem_cache *cache = kmem_cache_create("report", 300, 0, 0, NULL);
	void *objects[70];
	char *text, *line, *rest;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int rows = 0, seen = 0, nr_caches = 0;

	for (int i = 0; i < 70; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	ok_eq(show_slabinfo(machine, out), 0);
	fclose(out);
	slab_for_each(machine, count_cache, &nr_caches);
	line = strtok_r(text, "\n", &rest);
	ok(line && !strcmp(line, "slabinfo - version: 2.1"), "first line");
	line = strtok_r(NULL, "\n", &rest);
	ok(line && !strncmp(line, "# name            <active_objs> <num_objs> <objsize>", 51),
	   "second line");
	while ((line = strtok_r(NULL, "\n", &rest))) {
		struct row r;

		ok(parse_row(line, &r), "%s", line);
		rows++;
		ok(r.active_objs <= r.num_objs && r.active_slabs <= r.num_slabs, "%s", line);
		ok(r.objsize * r.objperslab <= r.pagesperslab * PAGE_SIZE, "%s", line);
		if (strcmp(r.name, "report"))
			continue;
		seen++;
		ok_eq(r.active_objs, 70);
		ok_eq(r.objsize, 304);
		ok_eq(r.num_objs, r.num_slabs * r.objperslab);
		ok(r.num_objs >= 70, "%lu objects", r.num_objs);
		ok(r.batchcount > r.limit / 4 && r.batchcount <= r.limit / 2, "%s", line);
	}
	ok_eq(seen, 1);
	ok_eq(rows, nr_caches);
	free(text);
	for (int i = 0; i < 70; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void a_stream_that_cannot_be_written_is_an_error(void)
{
	FILE *out = fopen("/dev/full", "w");

	setvbuf(out, NULL, _IONBF, 0);
	ok(show_slabinfo(machine, out) < 0, "no error");
	fclose(out);
}

int main(void)
{
	machine = boot_machine(ONE_NODE, 64UL << 20);
	RUN(each_cache_is_a_row_with_its_figures);
	RUN(a_stream_that_cannot_be_written_is_an_error);
	end_machine(machine);
	return done();
}
