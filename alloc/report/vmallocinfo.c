/* SPDX-License-Identifier: MIT */
/*
 * vmallocinfo: a line for each live area, in the order of addresses, as s_show() in mm/vmalloc.c
 * prints them; and then, as there, one for each that is freed and not unmapped yet:
 *
 *	0x00007f3a40000000-0x00007f3a40003000   12288 vmalloc pages=2 N0=2
 *	0x00007f3a40003000-0x00007f3a40005000    8192 vmap
 *	0x00007f3a40005000-0x00007f3a40016000   69632 unpurged vm_area
 *
 * The size counts the guard page; N<node>= says how many of its own frames lie on each node that has
 * any. What a CPU keeps for its next vmalloc has no line.
 */
#include <errno.h>

#include "base/machine.h"
#include "phys/phys.h"
#include "report/report.h"
#include "virt/pgtable.h"
#include "virt/vmalloc.h"

struct printer {
	struct kmm *machine;
	FILE *out;
};

static void print_nodes(const struct printer *printer, const struct vm_area_info *info)
{
	unsigned int nr_on_node[KMM_MAX_NODES] = {0};
	struct pgtable_walk walk;

	for (unsigned long i = 0; i < info->nr_pages; i++)
		if (pgtable_walk(kernel_pgtable(printer->machine),
				 (u64)info->addr + (i << PAGE_SHIFT), &walk))
			nr_on_node[pfn_to_nid(printer->machine, walk.pfn)]++;
	for (int nid = 0; nid < KMM_MAX_NODES; nid++)
		if (nr_on_node[nid])
			fprintf(printer->out, " N%d=%u", nid, nr_on_node[nid]);
}

static void print_area(const struct vm_area_info *info, void *arg)
{
	const struct printer *printer = arg;
	unsigned long start = (unsigned long)info->addr;

	fprintf(printer->out, "0x%016lx-0x%016lx %7lu %s", start, start + info->size_bytes,
		info->size_bytes, info->kind);
	if (info->owns_pages) {
		fprintf(printer->out, " pages=%u", info->nr_pages);
		print_nodes(printer, info);
	}
	fputc('\n', printer->out);
}

static void print_lazy(const struct vm_area_info *info, void *arg)
{
	const struct printer *printer = arg;
	unsigned long start = (unsigned long)info->addr;

	fprintf(printer->out, "0x%016lx-0x%016lx %7lu unpurged vm_area\n", start,
		start + info->size_bytes, info->size_bytes);
}

int show_vmallocinfo(struct kmm *machine, FILE *out)
{
	struct printer printer = {machine, out};

	errno = 0;
	vmalloc_for_each(machine, print_area, &printer);
	vmalloc_for_each_lazy(machine, print_lazy, &printer);
	if (fflush(out) || ferror(out))
		return errno ? -errno : -EIO;
	return 0;
}
