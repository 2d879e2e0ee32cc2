// SPDX-License-Identifier: MIT
/* The page allocator's memory, counted and told. One node, and zones that hold pages. */
#include "kmm_linux.h"

#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/mmzone.h>
#include <linux/mount.h>
#include <linux/seq_file.h>
#include <linux/uio.h>

/* The kernel's own, for whoever is linked with it; no header beside its sources has them. */
extern void zone_pcp_disable(struct zone *zone);
extern void zone_pcp_enable(struct zone *zone);

void count_free(struct free_blocks *free)
{
	struct zone *zone;
	int order, cpu;

	memset(free, 0, sizeof(*free));
	for_each_populated_zone(zone)
	{
		free->managed_pages += zone_managed_pages(zone);
		for (order = 0; order < NR_ORDERS; order++)
			free->nr[order] += zone->free_area[order].nr_free;
		for_each_online_cpu(cpu) free->pcp_pages +=
			per_cpu_ptr(zone->per_cpu_pageset, cpu)->count;
	}
}

u64 free_pages_of(const struct free_blocks *free)
{
	u64 pages = 0;
	int order;

	for (order = 0; order < NR_ORDERS; order++)
		pages += free->nr[order] << order;
	return pages;
}

char *free_blocks_text(const struct free_blocks *free, char *text, size_t size)
{
	int n = scnprintf(text, size, " %llu %llu", free->managed_pages, free->pcp_pages), order;

	for (order = 0; order < NR_ORDERS; order++)
		n += scnprintf(text + n, size - n, " %llu", free->nr[order]);
	return text;
}

void pcp_off(void)
{
	struct zone *zone;

	for_each_populated_zone(zone) zone_pcp_disable(zone);
}

void pcp_on(void)
{
	struct zone *zone;

	for_each_populated_zone(zone) zone_pcp_enable(zone);
}

void pcp_drain(void)
{
	drain_all_pages(NULL);
}

static void say_pageblocks(const char *trace, const char *when, const struct zone *zone)
{
	unsigned long pfn = ALIGN(zone->zone_start_pfn, pageblock_nr_pages),
		      end = zone_end_pfn(zone);

	for (; pfn + pageblock_nr_pages <= end; pfn += pageblock_nr_pages)
		if (pfn_valid(pfn))
			say("pageblock %s %s %lu %u %d", trace, when, pfn,
			    (unsigned int)pageblock_order,
			    get_pageblock_migratetype(pfn_to_page(pfn)));
}

void say_free_blocks(const char *trace, const char *when)
{
	struct zone *zone;
	int order, type;

	for_each_populated_zone(zone)
	{
		say_pageblocks(trace, when, zone);
		for (order = 0; order < NR_ORDERS; order++) {
			for (type = 0; type < MIGRATE_TYPES; type++) {
				struct list_head *list = &zone->free_area[order].free_list[type];
				struct page *page;

				list_for_each_entry(page, list, buddy_list)
					say("free %s %s %lu %d %d", trace, when, page_to_pfn(page),
					    order, type);
			}
		}
	}
}

static struct file *open_proc(const char *name)
{
	static struct vfsmount *proc;

	if (!proc)
		proc = kern_mount(get_fs_type("proc"));
	if (IS_ERR(proc))
		return ERR_CAST(proc);
	return file_open_root_mnt(proc, name, O_RDONLY, 0);
}

static void say_lines(const char *trace, const char *name, char *text)
{
	char *line;

	while ((line = strsep(&text, "\n")))
		if (*line)
			say("state %s %s %s", trace, name, line);
}

void say_proc(const char *trace, const char *name)
{
	const size_t room = 64 << 10;
	struct file *file = open_proc(name);
	struct iov_iter iter;
	struct kvec vec = {.iov_len = room - 1};
	struct kiocb kiocb;
	size_t got = 0;
	char *text;

	if (IS_ERR(file))
		return;
	text = kvmalloc(room, GFP_KERNEL);
	while (text && got < room - 1) {
		ssize_t n;

		vec.iov_base = text + got;
		vec.iov_len = room - 1 - got;
		iov_iter_kvec(&iter, READ, &vec, 1, vec.iov_len);
		init_sync_kiocb(&kiocb, file);
		kiocb.ki_pos = got;
		/* Also of the files that user space alone can read. */
		n = seq_read_iter(&kiocb, &iter);
		if (n <= 0)
			break;
		got += n;
	}
	if (text) {
		text[got] = '\0';
		say_lines(trace, name, text);
	}
	kvfree(text);
	fput(file);
}
