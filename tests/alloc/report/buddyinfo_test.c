/* SPDX-License-Identifier: MIT */
/* The text of /proc/buddyinfo, character by character as the kernel's frag_show_print writes it. */
#include <errno.h>

#include "report/report.h"
#include "tests/alloc/report/text.h"

static char text[4096];

static const char *buddyinfo(struct kmm *machine)
{
	FILE *out = fmemopen(text, sizeof(text), "w");

	ok_eq(show_buddyinfo(machine, out), 0);
	fclose(out);
	return text;
}

/* The line of one zone, without its newline. */
static const char *line_of(struct kmm *machine, const char *start)
{
	char *line = strstr(buddyinfo(machine), start);

	if (!line)
		return "";
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void zones_without_users_are_as_by_hand(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256UL << 20});

	/* 16 MiB of DMA; 64 MiB of Shared at the top, a quarter. */
	ok(!strcmp(line_of(machine, "Node 0, zone      DMA "),
		   "Node 0, zone      DMA      0      0      0      0      0      0      0      0  "
		   "    0      0      4 "),
	   "%s", text);
	ok(!strcmp(line_of(machine, "Node 0, zone   Shared "),
		   "Node 0, zone   Shared      0      0      0      0      0      0      0      0  "
		   "    0      0     16 "),
	   "%s", strstr(text, "Shared"));
	shut_down(machine);
}

static void blocks_taken_are_missing(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256UL << 20, .no_pcp = true});
	struct page *page = alloc_pages(GFP_DMA, 2);

	ok(!strcmp(line_of(machine, "Node 0, zone      DMA "),
		   "Node 0, zone      DMA      0      0      1      1      1      1      1      1  "
		   "    1      1      3 "),
	   "%s", text);
	__free_pages(page, 2);
	shut_down(machine);
}

static void every_node_and_zone_has_a_line(void)
{
	struct kmm *machine = boot((struct kmm_config){
		.synthetic = TWO_NODES, .node_bytes = 512UL << 20, .layout = ZONES_I386});
	static const char *const starts[] = {"Node 0, zone      DMA ", "Node 0, zone   Normal ",
					     "Node 1, zone   Normal ", "Node 1, zone  HighMem "};
	const char *at = buddyinfo(machine);

	for (unsigned int i = 0; i < ARRAY_SIZE(starts); i++) {
		ok(!strncmp(at, starts[i], strlen(starts[i])), "line %u: %.30s", i, at);
		at += strcspn(at, "\n");
		at += *at == '\n';
	}
	ok_eq(*at, '\0');
	shut_down(machine);
}

static void a_full_disk_is_an_error(void)
{
	report_fails_on_a_full_disk(show_buddyinfo);
}

int main(void)
{
	RUN(zones_without_users_are_as_by_hand);
	RUN(blocks_taken_are_missing);
	RUN(every_node_and_zone_has_a_line);
	RUN(a_full_disk_is_an_error);
	return done();
}
