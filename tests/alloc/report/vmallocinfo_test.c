/* SPDX-License-Identifier: MIT */
/* The text against areas that are known. */
#include <errno.h>

#include "tests/alloc/virt/machine.h"

#define MIB (1UL << 20)

static struct kmm *machine;

/* The text, to be freed. */
static char *text_now(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	ok_eq(show_vmallocinfo(machine, out), 0);
	fclose(out);
	return text;
}

static void no_areas_are_no_lines(void)
{
	char *text = text_now();

	ok(!*text, "\"%s\"", text);
	free(text);
}

static void each_area_is_a_line_in_the_order_of_addresses(void)
{
	void *a = vmalloc(2 * PAGE_SIZE), *b = vmalloc_node(100 * PAGE_SIZE, 1), *c = vmalloc(1),
	     *freed;
	char *text, expected[512];

	freed = vmalloc(PAGE_SIZE);
	vfree(freed);
	text = text_now();
	snprintf(expected, sizeof(expected),
		 "0x%016lx-0x%016lx   12288 vmalloc pages=2 N0=2\n"
		 "0x%016lx-0x%016lx  413696 vmalloc pages=100 N1=100\n"
		 "0x%016lx-0x%016lx    8192 vmalloc pages=1 N0=1\n",
		 (unsigned long)a, (unsigned long)a + 12288, (unsigned long)b,
		 (unsigned long)b + 413696, (unsigned long)c, (unsigned long)c + 8192);
	ok(a < b && b < c, "addresses are not dealt out from below");
	ok(!strcmp(text, expected), "\"%s\", not \"%s\"", text, expected);
	free(text);
	vfree(a);
	vfree(b);
	vfree(c);
}

static void an_area_of_two_nodes_counts_both(void)
{
	char *addr = vmalloc_node(40 * MIB, 1), *text, *nodes;
	unsigned int on_0 = 0, on_1 = 0;

	ok(addr, "no memory");
	text = text_now();
	nodes = strstr(text, " N0=");
	ok(nodes && sscanf(nodes, " N0=%u N1=%u", &on_0, &on_1) == 2, "\"%s\"", text);
	ok_eq(on_0 + on_1, 40 * MIB / PAGE_SIZE);
	free(text);
	vfree(addr);
}

static void a_stream_that_fails_is_reported(void)
{
	void *addr = vmalloc(PAGE_SIZE);
	FILE *full = fopen("/dev/full", "w");

	if (!full)
		skip("no /dev/full");
	else
		ok_eq(show_vmallocinfo(machine, full), -ENOSPC);
	if (full)
		fclose(full);
	vfree(addr);
}

int main(void)
{
	machine = machine_boot(2, 64 * MIB, 32 * MIB, ZONES_X86_64);
	RUN(no_areas_are_no_lines);
	RUN(each_area_is_a_line_in_the_order_of_addresses);
	RUN(an_area_of_two_nodes_counts_both);
	RUN(a_stream_that_fails_is_reported);
	machine_end(machine);
	return done();
}
