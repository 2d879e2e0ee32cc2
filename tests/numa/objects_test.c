/* SPDX-License-Identifier: MIT */
/* On a machine with nodes: objects, areas and threads' pages lie where they are wanted. */
#include <pthread.h>

#include "tests/numa/guest.h"

#define NODE_BYTES   (64UL << 20)
#define NR_OBJECTS   2000
#define NR_AREA	     64
#define MAX_THREADS  16
#define NR_OF_THREAD 500

static void *objects[NR_OBJECTS];

static struct kmm *boot_small(void)
{
	struct kmm_config config = {.node_bytes = NODE_BYTES};

	return boot_machine(&config);
}

static void objects_of_a_cache_lie_on_the_node_that_is_named(void)
{
	struct kmm *machine = boot_small();
	struct kmem_cache *cache = kmem_cache_create("numa_test", 512, 0, SLAB_NO_MERGE, NULL);

	for (unsigned int cpu = 0; cpu < topology_nr_cpus(machine->topology); cpu += 2)
		for (int nid = 0; nid < (int)topology_nr_nodes(machine->topology); nid++) {
			move_to_cpu(machine, cpu);
			for (size_t i = 0; i < NR_OBJECTS; i++) {
				objects[i] = kmem_cache_alloc_node(cache, GFP_KERNEL, nid);
				ok_eq(page_to_nid(virt_to_page(objects[i])), nid);
				memset(objects[i], 1, 512);
			}
			check_pages_on(machine->topology, objects, NR_OBJECTS, nid, "object");
			for (size_t i = 0; i < NR_OBJECTS; i++)
				kmem_cache_free(cache, objects[i]);
		}
	ok_eq(kmem_cache_destroy(cache), 0);
	shut_down(machine);
}

static void objects_without_a_node_lie_on_the_CPUs(void)
{
	struct kmm *machine = boot_small();

	for (unsigned int cpu = 0; cpu < topology_nr_cpus(machine->topology); cpu++) {
		move_to_cpu(machine, cpu);
		for (size_t i = 0; i < NR_OBJECTS; i++)
			objects[i] = kzalloc(8 << i % 11, GFP_KERNEL);
		check_pages_on(machine->topology, objects, NR_OBJECTS,
			       topology_cpu(machine->topology, cpu)->nid, "kmalloc");
		for (size_t i = 0; i < NR_OBJECTS; i++)
			kfree(objects[i]);
	}
	shut_down(machine);
}

static void kmalloc_node_lies_on_the_node_small_or_large(void)
{
	static const size_t sizes[] = {8, 100, 1024, 8192, 40000, 300000};
	struct kmm *machine = boot_small();

	move_to_cpu(machine, 0);
	for (int nid = 0; nid < (int)topology_nr_nodes(machine->topology); nid++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			size_t nr = 0;
			char *object = kmalloc_node(sizes[i], GFP_KERNEL, nid);

			memset(object, 1, sizes[i]);
			for (size_t at = 0; at < sizes[i]; at += PAGE_SIZE)
				objects[nr++] = object + at;
			check_pages_on(machine->topology, objects, nr, nid, "kmalloc_node");
			kfree(object);
		}
	shut_down(machine);
}

static void an_area_lies_on_the_node_that_is_named(void)
{
	struct kmm *machine = boot_small();

	for (unsigned int cpu = 0; cpu < topology_nr_cpus(machine->topology); cpu += 2)
		for (int nid = 0; nid < (int)topology_nr_nodes(machine->topology); nid++) {
			char *area;

			move_to_cpu(machine, cpu);
			area = vmalloc_node(NR_AREA * PAGE_SIZE, nid);
			memset(area, 1, NR_AREA * PAGE_SIZE);
			for (size_t i = 0; i < NR_AREA; i++) {
				objects[i] = area + i * PAGE_SIZE;
				ok_eq(page_to_nid(vmalloc_to_page(objects[i])), nid);
			}
			check_pages_on(machine->topology, objects, NR_AREA, nid, "vmalloc_node");
			vfree(area);
		}
	shut_down(machine);
}

static void an_area_without_a_node_lies_on_the_CPUs(void)
{
	struct kmm *machine = boot_small();

	for (unsigned int cpu = 0; cpu < topology_nr_cpus(machine->topology); cpu++) {
		char *area;

		move_to_cpu(machine, cpu);
		area = vzalloc(NR_AREA * PAGE_SIZE);
		for (size_t i = 0; i < NR_AREA; i++) {
			objects[i] = area + i * PAGE_SIZE;
			*(volatile char *)objects[i] = 1;
		}
		check_pages_on(machine->topology, objects, NR_AREA,
			       topology_cpu(machine->topology, cpu)->nid, "vmalloc");
		vfree(area);
	}
	shut_down(machine);
}

struct pinned {
	struct kmm *machine;
	unsigned int cpu;
	struct page *pages[NR_OF_THREAD];
	void *objects[NR_OF_THREAD], *addresses[NR_OF_THREAD];
	pthread_barrier_t *all_have;
	struct pinned *neighbour; /* of another node */
};

static void take_all(struct pinned *p)
{
	for (size_t i = 0; i < NR_OF_THREAD; i++) {
		p->pages[i] = alloc_page(GFP_KERNEL);
		p->objects[i] = kzalloc(1024, GFP_KERNEL);
		p->addresses[i] = page_address(p->pages[i]);
		*(volatile char *)p->addresses[i] = 1;
	}
}

static void give_all(struct pinned *p)
{
	for (size_t i = 0; i < NR_OF_THREAD; i++) {
		__free_page(p->pages[i]);
		kfree(p->objects[i]);
	}
}

static void check_all(struct pinned *p)
{
	int nid = topology_cpu(p->machine->topology, p->cpu)->nid;

	ok_eq(this_cpu->nid, nid);
	check_pages_on(p->machine->topology, p->addresses, NR_OF_THREAD, nid, "a thread's page");
	check_pages_on(p->machine->topology, p->objects, NR_OF_THREAD, nid, "a thread's object");
}

static void *work_pinned(void *arg)
{
	struct pinned *p = arg;

	move_to_cpu(p->machine, p->cpu);
	take_all(p);
	check_all(p);
	pthread_barrier_wait(p->all_have);
	/* What another node's thread took goes home from here, and is not handed out here. */
	give_all(p->neighbour);
	pthread_barrier_wait(p->all_have);
	take_all(p);
	check_all(p);
	give_all(p);
	return NULL;
}

static void pinned_threads_have_memory_of_their_node(void)
{
	struct kmm *machine = boot_small();
	unsigned int nr = topology_nr_cpus(machine->topology);
	static struct pinned threads[MAX_THREADS];
	pthread_t ids[MAX_THREADS];
	pthread_barrier_t all_have;

	nr = min_t(unsigned int, nr, MAX_THREADS);
	pthread_barrier_init(&all_have, NULL, nr);
	for (unsigned int i = 0; i < nr; i++) {
		threads[i].machine = machine;
		threads[i].cpu = i;
		threads[i].all_have = &all_have;
		threads[i].neighbour = &threads[(i + nr / 2) % nr];
		pthread_create(&ids[i], NULL, work_pinned, &threads[i]);
	}
	for (unsigned int i = 0; i < nr; i++)
		pthread_join(ids[i], NULL);
	pthread_barrier_destroy(&all_have);
	shut_down(machine);
}

static void a_thread_that_moves_and_attaches_again_is_at_home_there(void)
{
	struct kmm *machine = boot_small();

	for (int round = 0; round < 3; round++)
		for (unsigned int cpu = 0; cpu < topology_nr_cpus(machine->topology); cpu++) {
			struct page *page;

			move_to_cpu(machine, cpu);
			page = alloc_page(GFP_KERNEL);
			*(volatile char *)page_address(page) = 1;
			ok_eq(ask_node(machine->topology, page_address(page)),
			      topology_cpu(machine->topology, cpu)->nid);
			__free_page(page);
		}
	shut_down(machine);
}

int main(void)
{
	RUN(objects_of_a_cache_lie_on_the_node_that_is_named);
	RUN(objects_without_a_node_lie_on_the_CPUs);
	RUN(kmalloc_node_lies_on_the_node_small_or_large);
	RUN(an_area_lies_on_the_node_that_is_named);
	RUN(an_area_without_a_node_lies_on_the_CPUs);
	RUN(pinned_threads_have_memory_of_their_node);
	RUN(a_thread_that_moves_and_attaches_again_is_at_home_there);
	return done();
}
