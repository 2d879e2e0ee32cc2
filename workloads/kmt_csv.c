/* SPDX-License-Identifier: MIT */
/* See kmt_csv.h. */
#include "workloads/kmt_csv.h"

#include "base/compiler.h"

/* Quoted where it must be. */
static void put_text(FILE *out, const char *text)
{
	bool quote = false;

	for (const char *c = text; *c; c++)
		quote |= *c == ',' || *c == '"' || *c == '\n' || *c == '\r';
	if (quote)
		putc('"', out);
	for (const char *c = text; *c; c++) {
		if (*c == '"')
			putc('"', out);
		putc(*c, out);
	}
	if (quote)
		putc('"', out);
}

static void put_gfp(FILE *out, u32 gfp)
{
	static const char *const names[] = {
#define X(name) #name,
		KMT_GFP_FLAGS(X)
#undef X
	};
	bool first = true;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!(gfp & 1U << i))
			continue;
		fprintf(out, "%s%s", first ? "" : "|", names[i]);
		first = false;
	}
}

void kmt_csv_event(FILE *out, const struct kmt_reader *reader, const struct kmt_event *event,
		   u64 number)
{
	u32 nr_shapes;
	const struct kmt_shape *shape = &kmt_shapes(reader, &nr_shapes)[event->shape];
	bool is_access = event->kind == KMT_ACCESS;
	bool allocates = kmt_kind_effect(event->kind) == KMT_ALLOCATES;

	fprintf(out, "%llu,%llu,%u,%d,%s,%u,", (unsigned long long)number,
		(unsigned long long)event->time_ns, event->cpu, event->tid,
		kmt_kind_name(event->kind), event->id);
	if (kmt_kind_effect(event->kind) != KMT_FREES)
		fprintf(out, "%llu",
			(unsigned long long)(is_access ? shape->requested : event->arg));
	putc(',', out);
	if (shape->allocated)
		fprintf(out, "%llu", (unsigned long long)shape->allocated);
	putc(',', out);
	if (kmt_kind_population(event->kind) == KMT_PAGES || event->kind == KMT_MEMALIGN)
		fprintf(out, "%u", event->order);
	putc(',', out);
	if (shape->cache != KMT_NO_CACHE)
		put_text(out, kmt_cache_name(reader, shape->cache));
	putc(',', out);
	put_gfp(out, shape->gfp);
	putc(',', out);
	if (allocates && shape->migratetype != KMT_NO_MOBILITY)
		fprintf(out, "%u", shape->migratetype);
	putc(',', out);
	if (allocates && shape->node != KMT_NO_NODE)
		fprintf(out, "%d", shape->node);
	putc(',', out);
	if (is_access)
		fprintf(out, "%llu", (unsigned long long)event->arg);
	fprintf(out, ",%d,%d\n", shape->flags & KMT_WRITE ? 1 : 0,
		shape->flags & KMT_IMPLIED ? 1 : 0);
}
