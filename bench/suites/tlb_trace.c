/* SPDX-License-Identifier: MIT */
/*
 * Suite tlb, traces: how fast kmm reads accesses, apart from any TLB. One operation is 64 bytes of
 * the trace as it is after decompression, which is a record of ChampSim's; a run is a whole trace,
 * from opening to its end, that lies in memory.
 *
 *	lackey		text of valgrind's lackey
 *	champsim	ChampSim's records
 *	champsim_zstd	the same, compressed with zstd at its level of 3
 *
 * The program in it is made up: loops of 16 to 79 instructions, some thousand rounds in all of
 * each; one instruction in four loads, of which one in eight from anywhere in 64 MiB and the others
 * from streams; one in eight stores. size is the trace's in bytes. Every run must give all
 * accesses.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "bench/suites/common.h"
#include "bench/suites/tlb_trace.h"
#include "workloads/access.h"

#define PIECE	     64UL
#define TRACE_BYTES  (4UL << 20) /* or up to a piece less */
#define NR_STREAMS   4
#define LOADS_FROM   0x7f0000000000UL
#define STORES_TO    0x7ffff0000000UL
#define LOADED_BYTES (64UL << 20)

struct trace {
	char *bytes;
	size_t length, room;
	uint64_t nr_accesses;
	int fd;
};

/* An instruction of the program: addresses, 0 for none. */
struct instruction {
	uint64_t ip, load, store;
};

struct program {
	uint64_t random, begin, nr, at, rounds, streams[NR_STREAMS], nr_stored;
};

struct trace_thread {
	const struct trace *trace;
	char error[KMT_ERROR_SIZE];
	struct access accesses[4096];
};

static struct instruction next_instruction(struct program *program)
{
	struct instruction made = {.ip = program->begin + 4 * program->at};
	uint64_t r = bench_random(&program->random) >> 8;

	if (program->at % 4 == 1) {
		uint64_t *stream = &program->streams[program->at / 4 % NR_STREAMS];

		*stream += 8;
		made.load = LOADS_FROM + (r % 8 ? *stream : r / 8 % LOADED_BYTES & ~7UL);
	}
	if (program->at % 8 == 6)
		made.store = STORES_TO + program->nr_stored++ % 512 * 8;
	if (++program->at < program->nr)
		return made;
	program->at = 0;
	if (program->rounds--)
		return made;
	program->begin = 0x400000 + r % 65536 * 16;
	program->nr = 16 + r / 65536 % 64;
	program->rounds = 16 + r % 1024;
	return made;
}

static void add_record(struct trace *trace, const struct instruction *made)
{
	uint64_t record[8] = {made->ip, 0, made->store, 0, made->load};

	memcpy(trace->bytes + trace->length, record, sizeof(record));
	trace->length += sizeof(record);
}

static void add_lines(struct trace *trace, const struct instruction *made)
{
	char *at = trace->bytes + trace->length;

	at += sprintf(at, "I  %08llx,4\n", (unsigned long long)made->ip);
	if (made->load)
		at += sprintf(at, " L %08llx,8\n", (unsigned long long)made->load);
	if (made->store)
		at += sprintf(at, " S %08llx,8\n", (unsigned long long)made->store);
	trace->length = (size_t)(at - trace->bytes);
}

static bool is_text(const struct bench_case *c)
{
	return !strcmp(c->name, "lackey");
}

static void write_program(const struct bench_case *c, struct trace *trace)
{
	struct program program = {.random = c->seed, .begin = 0x400000, .nr = 16, .rounds = 16};

	while (trace->length + PIECE <= TRACE_BYTES) {
		struct instruction made = next_instruction(&program);

		if (is_text(c))
			add_lines(trace, &made);
		else
			add_record(trace, &made);
		trace->nr_accesses += 1 + !!made.load + !!made.store;
	}
}

/* In place of the trace: 0, or -1. */
static int compress(struct trace *trace)
{
	size_t room = ZSTD_compressBound(trace->length), length;
	char *packed = malloc(room);

	if (!packed)
		return -1;
	length = ZSTD_compress(packed, room, trace->bytes, trace->length, 3);
	free(trace->bytes);
	trace->bytes = packed;
	trace->length = length;
	return ZSTD_isError(length) ? -1 : 0;
}

static int write_out(struct trace *trace)
{
	trace->fd = memfd_create("kmm-bench", MFD_CLOEXEC);
	if (trace->fd < 0)
		return -1;
	for (size_t done = 0; done < trace->length;) {
		ssize_t n = write(trace->fd, trace->bytes + done, trace->length - done);

		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	return 0;
}

static const char *finish(struct bench_case *c)
{
	struct trace *trace = c->arg;

	if (trace && trace->fd >= 0)
		close(trace->fd);
	if (trace)
		free(trace->bytes);
	free(trace);
	c->arg = NULL;
	return NULL;
}

static const char *prepare(struct bench_case *c)
{
	struct trace *trace = calloc(1, sizeof(*trace));

	c->arg = trace;
	if (!trace)
		return error_line("no memory for the harness");
	trace->fd = -1;
	trace->bytes = malloc(TRACE_BYTES);
	if (!trace->bytes)
		return error_line("no memory for the harness");
	write_program(c, trace);
	if (!strcmp(c->name, "champsim_zstd") && compress(trace))
		return error_line("no memory for the harness");
	return write_out(trace) ? error_line("no file in memory: %s", strerror(errno)) : NULL;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	const char *error = thread_pin(c, thread);
	struct trace_thread *state;

	*out = NULL;
	if (error)
		return error;
	state = harness_alloc(sizeof(*state), true, false);
	if (!state)
		return error_line("no memory for the harness");
	state->trace = c->arg;
	*out = state;
	return NULL;
}

/* The whole trace once. */
static void read_trace(const struct bench_case *c, struct trace_thread *state)
{
	struct access_reader *reader;
	uint64_t nr = 0;
	ssize_t n;

	if (lseek(state->trace->fd, 0, SEEK_SET))
		return;
	reader = access_open_fd(state->trace->fd, "trace",
				is_text(c) ? ACCESS_LACKEY : ACCESS_CHAMPSIM, state->error);
	if (!reader)
		return;
	while ((n = access_read(reader, state->accesses, ARRAY_SIZE(state->accesses))) > 0)
		nr += (uint64_t)n;
	if (n < 0)
		snprintf(state->error, sizeof(state->error), "%s", access_error(reader));
	else if (nr != state->trace->nr_accesses)
		snprintf(state->error, sizeof(state->error), "%llu of %llu accesses were read",
			 (unsigned long long)nr, (unsigned long long)state->trace->nr_accesses);
	access_close(reader);
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	(void)thread;
	while (n--)
		read_trace(c, arg);
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct trace_thread *state = arg;
	const char *error = NULL;

	(void)thread;
	if (state && state->error[0])
		error = error_line("%s", state->error);
	harness_free(state, sizeof(*state));
	thread_unpin(c);
	return error;
}

static const struct case_ops trace_ops = {
	.prepare = prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = finish,
};

int tlb_trace_cases(const struct bench_env *env, struct case_list *list)
{
	static const char *const names[] = {"lackey", "champsim", "champsim_zstd"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bench_case *c = case_add(env, list, "tlb", names[i], "kmm", &trace_ops, 1);

		if (!c)
			return -ENOMEM;
		c->ops_per_batch = TRACE_BYTES / PIECE;
		c->size_bytes = TRACE_BYTES;
		snprintf(c->size, sizeof(c->size), "%lu", TRACE_BYTES);
	}
	return 0;
}
