/* SPDX-License-Identifier: MIT */
/*
 * Boot and shutdown of a machine (kmm.h): configuration, topology, CPU slots, then the layers in
 * order. Each step undoes itself when it fails, and boot then undoes the steps before it, so a
 * failed boot leaves nothing.
 *
 * phys boots before there is any slot, since a slot shows its owner the memory. Right after it the
 * booting thread gets slot 0, so that the later layers boot with the ordinary calls of the earlier
 * ones.
 */
#include "kmm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/slots.h"
#include "base/check.h"
#include "boot_config.h"
#include "phys/phys.h"

static int copy_string(const char **string)
{
	if (*string && !(*string = strdup(*string)))
		return boot_refuse(-ENOMEM, "configuration: no memory");
	return 0;
}

/* A machine that has its configuration and nothing else. */
static int machine_create(const struct kmm_config *config, struct kmm **out)
{
	struct kmm *machine;
	int error = config_check(config);

	if (error)
		return error;
	machine = aligned_alloc(_Alignof(struct kmm), sizeof(*machine));
	if (!machine)
		return boot_refuse(-ENOMEM, "machine: no memory");
	memset(machine, 0, sizeof(*machine));
	machine->config = *config;
	machine->config.synthetic = NULL;
	machine->config.xml = NULL;
	machine->config.slub_debug = NULL;
	machine->config.synthetic = config->synthetic;
	error = copy_string(&machine->config.synthetic);
	if (error)
		goto free_machine;
	machine->config.xml = config->xml;
	error = copy_string(&machine->config.xml);
	if (error)
		goto free_synthetic;
	machine->config.slub_debug = config->slub_debug;
	error = copy_string(&machine->config.slub_debug);
	if (error)
		goto free_xml;
	*out = machine;
	return 0;

free_xml:
	free((char *)machine->config.xml);
free_synthetic:
	free((char *)machine->config.synthetic);
free_machine:
	free(machine);
	return error;
}

static void machine_destroy(struct kmm *machine)
{
	free((char *)machine->config.synthetic);
	free((char *)machine->config.xml);
	free((char *)machine->config.slub_debug);
	free(machine);
}

static int boot_topology(struct kmm *machine)
{
	char why[256] = "";
	int error;

	error = topology_load(machine->config.synthetic, machine->config.xml, &machine->topology,
			      why, sizeof(why));
	if (error)
		return boot_refuse(error, "%s", why);
	error = config_fill(machine);
	if (error)
		topology_free(machine->topology);
	return error;
}

/* End the layers booted, the last first, with the calling thread borrowing a slot if there is
 * one. */
static void shutdown_layers(struct kmm *machine, struct kmm_leaks *leaks)
{
	while (machine->nr_layers) {
		const struct kmm_layer *layer = machine->layers[machine->nr_layers - 1];

		slots_drain_layer(machine, layer);
		layer->shutdown(machine, leaks);
		machine->nr_layers--;
	}
}

static int boot_layer(struct kmm *machine, const struct kmm_layer *layer)
{
	int error;

	boot_refuse_nothing();
	error = layer->boot(machine);
	if (error) {
		if (!*boot_refusal())
			boot_refuse(error, "%s: %s", layer->name, strerror(-error));
		return error;
	}
	machine->nr_layers++;
	slots_open_layer(machine, layer);
	return 0;
}

/* The list's end is NULL; a plain machine has no frames that vmalloc could map. */
static bool has_layer(const struct kmm *machine, const struct kmm_layer *layer)
{
	return layer && !(layer->not_plain && machine->config.layout == ZONES_PLAIN);
}

/* Boot all layers. On success the calling thread has borrowed a slot, and was at *before. */
static int boot_layers(struct kmm *machine, struct kmm_cpu **before)
{
	struct kmm_leaks leaks = {0};
	bool borrowed = false;
	int error = 0;

	machine->layers = kmm_layers;
	for (unsigned int i = 0; has_layer(machine, kmm_layers[i]) && !error; i++) {
		error = boot_layer(machine, kmm_layers[i]);
		if (!error && !borrowed) {
			error = slot_borrow(machine, before);
			borrowed = !error;
			if (error)
				boot_refuse(error, "CPU slots: %s", strerror(-error));
		}
	}
	if (error) {
		shutdown_layers(machine, &leaks);
		if (borrowed)
			slot_return(*before);
	}
	return error;
}

int kmm_boot(const struct kmm_config *config, struct kmm **out)
{
	struct kmm_cpu *before;
	struct kmm *machine = NULL;
	int error;

	*out = NULL;
	error = machine_create(config, &machine);
	if (error)
		return error;
	error = boot_topology(machine);
	if (error)
		goto destroy_machine;
	error = slots_boot(machine);
	if (error)
		goto free_topology;
	error = boot_layers(machine, &before);
	if (error)
		goto shutdown_slots;

	/* A thread that was nowhere stays on the machine that it would be attached to by itself. */
	if (!current_offer(machine) || before != kmm_cpu_detached || slot_keep())
		slot_return(before);
	*out = machine;
	return 0;

shutdown_slots:
	slots_shutdown(machine);
free_topology:
	topology_free(machine->topology);
destroy_machine:
	machine_destroy(machine);
	return error;
}

const char *kmm_boot_error(void)
{
	return boot_refusal();
}

static bool leaked(const struct kmm_leaks *leaks)
{
	return leaks->pages || leaks->objects || leaks->large_kmallocs || leaks->vmap_areas ||
	       leaks->kmaps;
}

static void print_leaks(const struct kmm_leaks *leaks)
{
	if (leaks->pages)
		fprintf(stderr, "kmm: leak: %llu pages\n", (unsigned long long)leaks->pages);
	if (leaks->objects)
		fprintf(stderr, "kmm: leak: %llu objects of %llu bytes together\n",
			(unsigned long long)leaks->objects,
			(unsigned long long)leaks->object_bytes);
	if (leaks->large_kmallocs)
		fprintf(stderr, "kmm: leak: %llu large kmallocs\n",
			(unsigned long long)leaks->large_kmallocs);
	if (leaks->vmap_areas)
		fprintf(stderr, "kmm: leak: %llu vmalloc areas\n",
			(unsigned long long)leaks->vmap_areas);
	if (leaks->kmaps)
		fprintf(stderr, "kmm: leak: %llu kmap windows\n", (unsigned long long)leaks->kmaps);
}

int kmm_shutdown(struct kmm *machine, struct kmm_leaks *out)
{
	struct kmm_leaks leaks = {0};
	struct kmm_cpu *before = this_cpu;

	current_withdraw(machine);
	if (before->machine == machine)
		before = kmm_cpu_detached;
	/* No thread is inside a call, so any slot will do, whoever owns it; boot made at least
	 * one. */
	this_cpu = cpu_first(machine);
	shutdown_layers(machine, &leaks);
	this_cpu = before;
	slots_shutdown(machine);
	topology_free(machine->topology);
	machine_destroy(machine);
	if (out)
		*out = leaks;
	else
		print_leaks(&leaks);
	return leaked(&leaks) ? -EBUSY : 0;
}

int kmm_attach(struct kmm *machine, int cpu)
{
	return slot_attach(machine, cpu);
}

void kmm_detach(void)
{
	slot_detach();
}

void kmm_drain(struct kmm *machine)
{
	slots_drain(machine);
}

unsigned long kmm_trim(struct kmm *machine, size_t keep_bytes)
{
	struct kmm_cpu *before = this_cpu;
	bool borrowed = before->machine != machine && !slot_borrow(machine, &before);

	slots_drain(machine);
	if (borrowed)
		slot_return(before);
	return phys_trim(machine, (keep_bytes >> PAGE_SHIFT) + !!(keep_bytes & ~PAGE_MASK))
	       << PAGE_SHIFT;
}

unsigned long kmm_age(struct kmm *machine)
{
	struct kmm_cpu *before = this_cpu;
	unsigned long nr_pages;
	bool borrowed;

	/* Before one of the idle slots is borrowed, which would keep it from growing old. */
	slots_age(machine);
	borrowed = before->machine != machine && !slot_borrow(machine, &before);
	/* What the layers give goes through this slot, if there was one to be had. */
	for (unsigned int i = machine->nr_layers; i-- > 0 && this_cpu->machine == machine;)
		if (machine->layers[i]->age)
			machine->layers[i]->age(machine);
	nr_pages = phys_age(machine);
	if (borrowed)
		slot_return(before);
	return nr_pages << PAGE_SHIFT;
}

struct kmm *kmm_current(void)
{
	return current_machine();
}
