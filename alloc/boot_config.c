/* SPDX-License-Identifier: MIT */
/* The machine's configuration: what is refused, and what zero stands for (base/config.h). */
#include "boot_config.h"

#include <errno.h>

#include "arch/host.h"
#include "arch/topology.h"
#include "slab/cache.h"

#define MIB		  (1UL << 20)
#define BLOCK_BYTES	  (PAGE_SIZE << MAX_PAGE_ORDER)
#define MIN_NODE_BYTES	  (16 * MIB)
#define DEFAULT_ALL_BYTES (4096 * MIB)
#define MAX_ALL_BYTES	  (1UL << 44) /* 16 TiB: an eighth of a process's address space */
#define MAX_PCP_PAGES	  65536U
#define MAX_SCALE_FACTOR  3000U /* the kernel's */

static double gib(u64 bytes)
{
	return (double)bytes / (double)(1024 * MIB);
}

int config_check(const struct kmm_config *config)
{
	slab_flags_t debug;

	if (config->synthetic && config->xml)
		return boot_refuse(-EINVAL,
				   "topology: both a synthetic string and an XML file are given");
	if ((unsigned int)config->layout >= NR_ZONE_LAYOUTS)
		return boot_refuse(-EINVAL, "layout: %u is not a zone layout",
				   (unsigned int)config->layout);
	if ((unsigned int)config->lock_kind >= NR_LOCK_KINDS)
		return boot_refuse(-EINVAL, "lock_kind: %u is not a kind of lock",
				   (unsigned int)config->lock_kind);
	if (config->node_bytes % BLOCK_BYTES)
		return boot_refuse(-EINVAL, "node_bytes: %llu is not a multiple of 4 MiB",
				   (unsigned long long)config->node_bytes);
	if (config->node_bytes && config->node_bytes < MIN_NODE_BYTES)
		return boot_refuse(-EINVAL, "node_bytes: %llu is less than 16 MiB",
				   (unsigned long long)config->node_bytes);
	if (config->shared_bytes % BLOCK_BYTES)
		return boot_refuse(-EINVAL, "shared_bytes: %llu is not a multiple of 4 MiB",
				   (unsigned long long)config->shared_bytes);
	if (config->node_bytes && config->shared_bytes >= config->node_bytes)
		return boot_refuse(-EINVAL, "shared_bytes: %llu leaves nothing of node_bytes %llu",
				   (unsigned long long)config->shared_bytes,
				   (unsigned long long)config->node_bytes);
	if (config->pcp_batch > MAX_PCP_PAGES || config->pcp_high > MAX_PCP_PAGES)
		return boot_refuse(-EINVAL, "%s: more than %u pages",
				   config->pcp_high > MAX_PCP_PAGES ? "pcp_high" : "pcp_batch",
				   MAX_PCP_PAGES);
	if (config->pcp_high && config->pcp_batch > config->pcp_high)
		return boot_refuse(-EINVAL, "pcp_batch: %u is more than pcp_high %u",
				   config->pcp_batch, config->pcp_high);
	if (config->watermark_scale_factor > MAX_SCALE_FACTOR)
		return boot_refuse(-EINVAL, "watermark_scale_factor: %u is more than %u",
				   config->watermark_scale_factor, MAX_SCALE_FACTOR);
	if (slab_debug_parse(config->slub_debug, NULL, &debug))
		return boot_refuse(-EINVAL, "slub_debug: %s: not letters of F, Z, P, U",
				   config->slub_debug);
	if (config->max_slots > KMM_MAX_SLOTS)
		return boot_refuse(-EINVAL, "max_slots: %u is more than %u", config->max_slots,
				   KMM_MAX_SLOTS);
	if (config->layout == ZONES_PLAIN && config->shared_bytes)
		return boot_refuse(-EINVAL, "shared_bytes: a plain machine has no Shared zone");
	if ((unsigned int)config->kmalloc_classes >= NR_KMALLOC_CLASSES)
		return boot_refuse(-EINVAL, "kmalloc_classes: %u is not a set of sizes",
				   (unsigned int)config->kmalloc_classes);
	if (config->late_classes && config->layout != ZONES_PLAIN)
		return boot_refuse(-EINVAL, "late_classes: only a plain machine can have them");
	if (config->no_watermarks && (config->min_free_kbytes || config->watermark_scale_factor))
		return boot_refuse(-EINVAL, "no_watermarks: %s says how large they are",
				   config->min_free_kbytes ? "min_free_kbytes"
							   : "watermark_scale_factor");
	return 0;
}

/* The sizes of a topology's own nodes. */
struct topology_memory {
	u64 least, most, total;
};

static struct topology_memory topology_memory(const struct topology *topo)
{
	struct topology_memory memory = {.least = UINT64_MAX};

	for (unsigned int nid = 0; nid < topology_nr_nodes(topo); nid++) {
		u64 bytes = ALIGN_DOWN(topology_node(topo, (int)nid)->memory_bytes, BLOCK_BYTES);

		memory.least = min_t(u64, memory.least, bytes);
		memory.most = max_t(u64, memory.most, bytes);
		memory.total += min_t(u64, bytes, MAX_ALL_BYTES);
	}
	return memory;
}

/*
 * The topology's own sizes if it is not the host's and fits: 0 when its nodes differ, which phys
 * takes from the topology. Else a share of what the host has to give.
 */
static u64 default_node_bytes(const struct topology *topo, u64 available)
{
	struct topology_memory own = topology_memory(topo);
	u64 share = min_t(u64, DEFAULT_ALL_BYTES, available / 2) / topology_nr_nodes(topo);

	if (topology_emulated(topo) && own.least >= MIN_NODE_BYTES && own.total <= available)
		return own.least == own.most ? own.least : 0;
	return max_t(u64, ALIGN_DOWN(share, BLOCK_BYTES), MIN_NODE_BYTES);
}

int config_fill(struct kmm *machine)
{
	struct kmm_config *config = &machine->config;
	unsigned int nr_nodes = topology_nr_nodes(machine->topology);
	u64 available;

	/* Memory that nobody touches costs nothing, so what the host has left is no limit. */
	if (config->layout == ZONES_PLAIN && config->node_bytes)
		return 0;
	available = min_t(u64, host_available_bytes(), MAX_ALL_BYTES);
	if (!config->node_bytes)
		config->node_bytes = default_node_bytes(machine->topology, available);
	if (!config->node_bytes)
		return 0;
	if (config->node_bytes > available / nr_nodes)
		return boot_refuse(
			-ENOMEM, "memory: %u node%s of %.2f GiB asked, this host has %.2f GiB left",
			nr_nodes, nr_nodes > 1 ? "s" : "", gib(config->node_bytes), gib(available));
	if (config->layout == ZONES_PLAIN)
		return 0;
	if (!config->shared_bytes)
		config->shared_bytes = ALIGN_DOWN(config->node_bytes / 4, BLOCK_BYTES);
	if (config->shared_bytes >= config->node_bytes)
		return boot_refuse(-EINVAL, "shared_bytes: %llu leaves nothing of node_bytes %llu",
				   (unsigned long long)config->shared_bytes,
				   (unsigned long long)config->node_bytes);
	return 0;
}
