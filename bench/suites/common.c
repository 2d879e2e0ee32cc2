/* SPDX-License-Identifier: MIT */
/* What every suite shares; see common.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/host.h"
#include "bench/suites/common.h"

#define NR_ERROR_LINES 64
#define MEETING_NS     60000000000UL

const char *const placement_names[NR_PLACEMENTS] = {"local", "remote", "interleave"};

const char *error_line(const char *fmt, ...)
{
	static char lines[NR_ERROR_LINES][200];
	static unsigned int next;
	char *line = lines[__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % NR_ERROR_LINES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(lines[0]), fmt, ap);
	va_end(ap);
	return line;
}

static void note_append(struct bench_case *c, const char *text)
{
	size_t used = strlen(c->note);

	snprintf(c->note + used, sizeof(c->note) - used, "%s%s", used ? "; " : "", text);
}

void case_note(struct bench_case *c, const char *fmt, ...)
{
	char text[sizeof(c->note)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	note_append(c, text);
}

void case_skip(struct bench_case *c, const char *fmt, ...)
{
	char before[sizeof(c->note)], why[sizeof(c->note)];
	va_list ap;

	memcpy(before, c->note, sizeof(before));
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	c->note[0] = '\0';
	case_note(c, "skipped: %s", why);
	if (before[0])
		note_append(c, before);
	c->skipped = true;
}

const char *case_no_memory(struct bench_case *c, const char *fmt, ...)
{
	const char *none = NULL, *line;
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	line = error_line("no memory %s", text);
	/* release: who reads the line from another thread sees its text */
	return __atomic_compare_exchange_n(&c->gave_up, &none, line, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE)
		       ? line
		       : none;
}

const char *case_given_up(const struct bench_case *c)
{
	return __atomic_load_n(&c->gave_up, __ATOMIC_ACQUIRE);
}

struct bench_case *case_list_add(struct case_list *list)
{
	struct bench_case *c;

	if (list->nr == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		struct bench_case *cases = realloc(list->cases, room * sizeof(*cases));

		if (!cases)
			return NULL;
		list->cases = cases;
		list->room = room;
	}
	c = &list->cases[list->nr++];
	memset(c, 0, sizeof(*c));
	return c;
}

struct bench_case *case_add(const struct bench_env *env, struct case_list *list, const char *suite,
			    const char *name, const char *allocator, const struct case_ops *ops,
			    int threads)
{
	struct bench_case *c = case_list_add(list);

	if (!c)
		return NULL;
	c->suite = suite;
	c->name = name;
	c->allocator = allocator;
	c->placement = placement_names[PLACE_LOCAL];
	c->ops = ops;
	c->threads = threads;
	c->seed = BENCH_SEED;
	c->env = env;
	if (env->emulated)
		case_note(c, "emulated");
	return c;
}

int thread_cpu(const struct bench_case *c, int thread)
{
	const struct kmm *machine = c->env->machine;

	return machine ? thread % (int)topology_nr_cpus(machine->topology) : thread;
}

int thread_node(const struct bench_case *c, int thread)
{
	const struct kmm *machine = c->env->machine;

	if (!machine)
		return NUMA_NO_NODE;
	return topology_cpu(machine->topology, (unsigned int)thread_cpu(c, thread))->nid;
}

unsigned int nr_nodes(const struct bench_env *env)
{
	return env->machine ? topology_nr_nodes(env->machine->topology) : 1;
}

int farthest_node(const struct bench_case *c, int nid)
{
	unsigned int farthest = 0;
	int found = nid;

	for (int other = 0; other < (int)nr_nodes(c->env); other++) {
		unsigned int distance;

		if (other == nid)
			continue;
		distance = topology_distance(c->env->machine->topology, nid, other);
		if (distance > farthest) {
			farthest = distance;
			found = other;
		}
	}
	return found;
}

const char *thread_pin(const struct bench_case *c, int thread)
{
	struct kmm *machine = c->env->machine;
	int cpu = thread_cpu(c, thread);
	int status;

	kmm_target_cpu = (unsigned int)thread;
	if (!machine)
		return NULL;
	status = topology_bind_thread(machine->topology, (unsigned int)cpu);
	if (status < 0)
		return error_line("cannot pin a thread to CPU %d: %s", cpu, strerror(-status));
	status = kmm_attach(machine, cpu);
	if (status < 0)
		return error_line("cannot attach to CPU %d: %s", cpu, strerror(-status));
	return NULL;
}

void thread_unpin(const struct bench_case *c)
{
	if (!c->env->machine)
		return;
	/* Leaves the slot idle, so that finish may drain and count it. */
	kmm_detach();
	topology_unbind_thread(c->env->machine->topology);
}

static uint64_t nr_harness_bytes;

void *harness_alloc(size_t size, bool present, bool huge)
{
	size_t align = huge ? HPAGE_SIZE : PAGE_SIZE;
	size_t whole = ALIGN_UP(size, align);
	char *memory, *aligned;

	memory = mmap(NULL, whole + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED)
		return NULL;
	aligned = (char *)ALIGN_UP((uintptr_t)memory, align);
	if (aligned > memory)
		munmap(memory, (size_t)(aligned - memory));
	munmap(aligned + whole, (size_t)(memory + align - aligned));
	if (huge)
		madvise(aligned, whole, MADV_HUGEPAGE);
	__atomic_fetch_add(&nr_harness_bytes, ALIGN_UP(size, PAGE_SIZE), __ATOMIC_RELAXED);
	if (present)
		for (size_t at = 0; at < whole; at += PAGE_SIZE)
			*(volatile char *)(aligned + at) = 0;
	return aligned;
}

void harness_free(void *memory, size_t size)
{
	if (!memory)
		return;
	munmap(memory, ALIGN_UP(size, PAGE_SIZE));
	__atomic_fetch_sub(&nr_harness_bytes, ALIGN_UP(size, PAGE_SIZE), __ATOMIC_RELAXED);
}

uint64_t harness_bytes(void)
{
	return __atomic_load_n(&nr_harness_bytes, __ATOMIC_RELAXED);
}

const char *meeting_wait(struct meeting *meeting, const struct bench_case *c)
{
	int threads = c->threads;

	/* acquire and release: what each did before is seen by all after */
	int mine = __atomic_fetch_add(&meeting->nr_arrived, 1, __ATOMIC_ACQ_REL);
	int all = mine / threads * threads + threads;
	uint64_t deadline = host_time_ns() + MEETING_NS;

	while (__atomic_load_n(&meeting->nr_arrived, __ATOMIC_ACQUIRE) < all) {
		/* acquire: pairs with meeting_leave; why the other left is known */
		if (__atomic_load_n(&meeting->left, __ATOMIC_ACQUIRE))
			return case_given_up(c) ?: error_line("another thread gave up");
		if (host_time_ns() > deadline) {
			meeting_leave(meeting);
			return error_line("another thread did not come");
		}
		sched_yield();
	}
	return NULL;
}

void meeting_leave(struct meeting *meeting)
{
	__atomic_store_n(&meeting->left, true, __ATOMIC_RELEASE);
}

int thread_counts(const struct bench_env *env, int counts[2])
{
	counts[0] = 1;
	counts[1] = env->nr_threads_max;
	return env->nr_threads_max > 1 ? 2 : 1;
}

int list_allocators(const struct bench_env *env, const struct object_peer *kmm,
		    const struct object_peer *mmap, struct allocator_choice out[MAX_CHOICES])
{
	int nr = 0;

	if (env->machine && kmm)
		out[nr++] = (struct allocator_choice){kmm->name, kmm};
	for (int i = 0; i < env->nr_peers && i < PEER_MAX; i++)
		out[nr++] = (struct allocator_choice){env->peers[i].name, &env->peers[i]};
	for (int i = 0; kmm == kmm_page_tables && i < env->nr_page_peers; i++)
		out[nr++] = (struct allocator_choice){env->page_peers[i].name, &env->page_peers[i]};
	if (mmap)
		out[nr++] = (struct allocator_choice){mmap->name, mmap};
	return nr;
}
