/* SPDX-License-Identifier: MIT */
/* Traces as the kernel of linux_run.h reads them. */
#include "bench/run/linux_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/linux/trace_format.h"
#include "bench/replay/replay_internal.h"

#define CHUNK	  512
#define MAX_BYTES (1UL << 31) /* of a file that the kernel maps */

/* One population of one trace on its way. */
struct writer {
	FILE *out;
	enum kmt_population population;
	struct kmt_reader *reader;
	struct linux_trace header;
	struct linux_trace_cache *caches;
	u16 *of_shape; /* the cache of each shape, + 1; 0: not known yet */
	u32 nr_shapes;
	u64 begin; /* of what is written for it, in out */
};

static u8 gfp_of(u32 recorded)
{
	u8 gfp = 0;

	/* Who cannot wait does not say that reclaim may run. */
	if (recorded && !(recorded & KMT_GFP_DIRECT_RECLAIM))
		gfp |= LINUX_GFP_ATOMIC;
	if (recorded & KMT_GFP_MOVABLE)
		gfp |= LINUX_GFP_MOVABLE;
	if (recorded & KMT_GFP_RECLAIMABLE)
		gfp |= LINUX_GFP_RECLAIMABLE;
	if (recorded & KMT_GFP_COMP)
		gfp |= LINUX_GFP_COMP;
	return gfp;
}

/* As kmm's replay has it: one cache for each name and size. */
static int new_cache(struct writer *w, const struct kmt_shape *shape, u64 size_bytes, u16 *number)
{
	const char *name = kmt_cache_name(w->reader, shape->cache);
	struct linux_trace_cache *cache;
	u32 i;

	for (i = 0; i < w->header.nr_caches; i++)
		if (w->caches[i].pad == shape->cache && w->caches[i].size_bytes == size_bytes)
			break;
	if (i == w->header.nr_caches) {
		if (i == LINUX_NO_CACHE || size_bytes > UINT32_MAX)
			return -E2BIG;
		cache = realloc(w->caches, (i + 1) * sizeof(*cache));
		if (!cache)
			return -ENOMEM;
		w->caches = cache;
		cache = &w->caches[w->header.nr_caches++];
		memset(cache, 0, sizeof(*cache));
		/* No two alike, and none as one of the kernel's own. */
		snprintf(cache->name, sizeof(cache->name), "t%u:%.40s", i, name);
		for (char *c = cache->name; *c; c++)
			if (*c <= ' ' || *c > '~')
				*c = '_';
		cache->size_bytes = (u32)size_bytes;
		cache->pad = shape->cache;
	}
	*number = (u16)i;
	return 0;
}

static int cache_of(struct writer *w, u32 number, u16 *cache)
{
	u32 nr_shapes;
	const struct kmt_shape *shapes = kmt_shapes(w->reader, &nr_shapes),
			       *shape = &shapes[number];
	u16 *grown;
	int error;

	if (number >= w->nr_shapes) {
		grown = realloc(w->of_shape, nr_shapes * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		memset(grown + w->nr_shapes, 0, (nr_shapes - w->nr_shapes) * sizeof(*grown));
		w->of_shape = grown;
		w->nr_shapes = nr_shapes;
	}
	if (!w->of_shape[number]) {
		error = new_cache(w, shape,
				  shape->allocated > shape->requested ? shape->allocated
								      : shape->requested,
				  cache);
		if (error)
			return error;
		w->of_shape[number] = (u16)(*cache + 1);
	}
	*cache = (u16)(w->of_shape[number] - 1);
	return 0;
}

static int op_of(struct writer *w, const struct kmt_event *event, struct linux_trace_op *op)
{
	u32 nr_shapes;
	const struct kmt_shape *shape = &kmt_shapes(w->reader, &nr_shapes)[event->shape];
	u64 bytes = event->kind == KMT_PAGE_ALLOC ? PAGE_SIZE << event->order : event->arg;
	int error = 0;

	*op = (struct linux_trace_op){
		.time_ns = event->time_ns, .id = event->id, .cache = LINUX_NO_CACHE};
	if (kmt_kind_effect(event->kind) == KMT_FREES) {
		op->action = LINUX_FREE;
		return 0;
	}
	if (bytes > UINT32_MAX)
		return -E2BIG;
	op->action = LINUX_ALLOC;
	op->bytes = (u32)bytes;
	op->order = event->order;
	op->gfp = gfp_of(shape->gfp);
	if (event->kind == KMT_CACHE_ALLOC)
		error = cache_of(w, event->shape, &op->cache);
	/* An event that carries its own size may ask for more than the shape gives. */
	if (!error && op->cache != LINUX_NO_CACHE && w->caches[op->cache].size_bytes < bytes)
		op->cache = LINUX_NO_CACHE;
	return error;
}

/* With the end behind it. */
static bool fits(const struct writer *w)
{
	return w->begin + 2 * sizeof(w->header) + w->header.nr_caches * sizeof(*w->caches) +
		       w->header.nr_ops * sizeof(struct linux_trace_op) <=
	       MAX_BYTES - PAGE_SIZE;
}

/* Operations go to a file of their own first: the caches, known at their end, come before them. */
static int write_ops(struct writer *w, FILE *ops)
{
	struct kmt_event events[CHUNK];
	struct linux_trace_op op;
	ssize_t n = 0;
	int error = 0;

	while (!error && (n = kmt_read(w->reader, events, CHUNK)) > 0) {
		for (ssize_t i = 0; !error && i < n; i++) {
			if (kmt_kind_population(events[i].kind) != w->population)
				continue;
			error = op_of(w, &events[i], &op);
			if (!error && fwrite(&op, sizeof(op), 1, ops) != 1)
				error = -EIO;
			w->header.nr_ops++;
			if (!error && !fits(w))
				error = -EFBIG;
		}
	}
	return n < 0 ? -EINVAL : error;
}

static int copy(FILE *from, FILE *to)
{
	char bytes[65536];
	size_t n;

	rewind(from);
	while ((n = fread(bytes, 1, sizeof(bytes), from)) > 0)
		if (fwrite(bytes, 1, n, to) != n)
			return -EIO;
	return ferror(from) ? -EIO : 0;
}

static int write_all(struct writer *w)
{
	FILE *ops = tmpfile();
	int error = ops ? write_ops(w, ops) : -errno;

	w->header.magic = LINUX_TRACE_MAGIC;
	w->header.population = w->population == KMT_PAGES ? LINUX_TRACE_PAGES : 0;
	w->header.samples = REPLAY_SAMPLES;
	for (u32 i = 0; i < w->header.nr_caches; i++)
		w->caches[i].pad = 0;
	if (!error && w->header.nr_ops &&
	    (fwrite(&w->header, sizeof(w->header), 1, w->out) != 1 ||
	     (w->header.nr_caches && fwrite(w->caches, sizeof(*w->caches), w->header.nr_caches,
					    w->out) != w->header.nr_caches)))
		error = -EIO;
	if (!error && w->header.nr_ops)
		error = copy(ops, w->out);
	if (ops)
		fclose(ops);
	return error;
}

static int write_population(FILE *out, const struct replay_trace *trace,
			    enum kmt_population population)
{
	char line[KMT_ERROR_SIZE];
	struct writer w = {.out = out, .population = population};
	long begin = ftell(out);
	int error;

	w.header.nr_ids = trace->nr_ids[population];
	snprintf(w.header.name, sizeof(w.header.name), "%.50s-%s", trace->name,
		 population == KMT_PAGES ? "page" : "object");
	for (char *c = w.header.name; *c; c++)
		if ((*c < '0' || *c > '9') && (*c < 'A' || *c > 'Z') && (*c < 'a' || *c > 'z') &&
		    *c != '-' && *c != '.')
			*c = '_';
	if (begin < 0)
		return complain("linux: cannot write its traces: %s", strerror(errno));
	w.begin = (u64)begin;
	w.reader = kmt_open(trace->path, line);
	if (!w.reader)
		return complain("%s", line);
	error = write_all(&w);
	kmt_close(w.reader);
	free(w.caches);
	free(w.of_shape);
	/* Nothing of it has been written then. */
	if (error == -E2BIG || error == -EFBIG) {
		complain("linux: %s: left out: %s", w.header.name,
			 error == -EFBIG ? "too many events"
					 : "an object of 4 GiB or more, or too many caches");
		return EXIT_OK;
	}
	return error ? complain("linux: %s: cannot be handed over: %s", w.header.name,
				strerror(-error))
		     : EXIT_OK;
}

static int write_trace(FILE *out, const struct replay_trace *trace)
{
	int status = EXIT_OK;

	for (int i = 0; !status && i < KMT_NR_POPULATIONS; i++)
		status = write_population(out, trace, (enum kmt_population)i);
	return status;
}

/* A header of zeros ends the traces, and the file its page. */
static int write_end(FILE *out)
{
	long at = ftell(out), end;

	if (at < 0)
		return -errno;
	end = ALIGN_UP(at + (long)sizeof(struct linux_trace), (long)PAGE_SIZE);
	if ((unsigned long)end > MAX_BYTES)
		return -E2BIG;
	if (fflush(out) || ftruncate(fileno(out), end))
		return -errno;
	return 0;
}

int linux_traces_write(const struct replay_trace *traces, int nr_traces, int *fd)
{
	FILE *out;
	int status = EXIT_OK, error;

	*fd = -1;
	if (!nr_traces)
		return EXIT_OK;
	out = tmpfile();
	if (!out)
		return complain("linux: no temporary file for traces: %s", strerror(errno));
	for (int i = 0; !status && i < nr_traces; i++)
		status = write_trace(out, &traces[i]);
	error = status ? 0 : write_end(out);
	if (!status && !error) {
		*fd = dup(fileno(out));
		error = *fd < 0 ? -errno : 0;
	}
	fclose(out);
	if (error)
		status = complain("linux: cannot write its traces: %s", strerror(-error));
	return status;
}
