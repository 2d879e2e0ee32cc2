/* SPDX-License-Identifier: MIT */
/* The .kmt writer: what is written is read, what cannot be is refused, and a trace has its name when
 * it is whole. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap/tap.h"
#include "tests/workloads/kmt_traces.h"

static void the_writer_refuses_what_cannot_be(void)
{
	struct kmt_shape shape = shape_of(KMT_FREE);
	struct kmt_writer *w;
	u32 id = 5;
	int fd;

#define REFUSED(time, cpu, arg, error)                                                             \
	do {                                                                                       \
		fd = memory_file("", 0);                                                           \
		w = writer_to(fd);                                                                 \
		ok_eq(kmt_write(w, time, cpu, 1, &shape, arg, &id), error);                        \
		ok(kmt_writer_error(w)[0], "no line");                                             \
		kmt_writer_abort(w);                                                               \
		close(fd);                                                                         \
	} while (0)
	REFUSED(0, 0, 0, -EINVAL); /* a free of nothing live */
	shape = shape_of(KMT_MALLOC);
	REFUSED(0, 70000, 0, -EINVAL);
	REFUSED(1ULL << 63, 0, 0, -EINVAL); /* no reader takes it */
	REFUSED(0, 0, 1ULL << 63, -EINVAL);
	shape.requested = 1ULL << 63;
	REFUSED(0, 0, 0, -EINVAL);
	shape = shape_of(KMT_PAGE_ALLOC);
	shape.order = KMT_MAX_ORDER + 1;
	REFUSED(0, 0, 0, -EINVAL);
	shape = shape_of(KMT_CACHE_ALLOC);
	REFUSED(0, 0, 0, -EINVAL); /* no cache */
#undef REFUSED
	fd = memory_file("", 0);
	w = writer_to(fd);
	shape = shape_of(KMT_MALLOC);
	ok_eq(kmt_write(w, 5000, 0, 1, &shape, 0, &id), 0);
	ok_eq(kmt_write(w, 4000, 0, 1, &shape, 0, &id), -EINVAL); /* time goes back */
	kmt_writer_abort(w);
	close(fd);
}

static void ids_are_dense_and_the_last_freed_is_taken_first(void)
{
	struct kmt_shape alloc = shape_of(KMT_MALLOC), release = shape_of(KMT_FREE);
	int fd = memory_file("", 0);
	struct kmt_writer *w = writer_to(fd);
	u32 id, other;

	for (u32 i = 0; i < 5; i++) {
		ok_eq(kmt_write(w, 0, 0, 1, &alloc, 0, &id), 0);
		ok_eq(id, i);
	}
	id = 1;
	ok_eq(kmt_write(w, 0, 0, 1, &release, 0, &id), 0);
	id = 3;
	ok_eq(kmt_write(w, 0, 0, 1, &release, 0, &id), 0);
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 0, &other), 0);
	ok_eq(other, 3);
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 0, &other), 0);
	ok_eq(other, 1);
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 0, &other), 0);
	ok_eq(other, 5);
	kmt_writer_abort(w);
	close(fd);
}

/* One random event, as written. */
struct written {
	struct kmt_event event;
	struct kmt_shape shape;
	char cache[24];
};

static struct written *random_trace(int fd, size_t nr, unsigned long *seed)
{
	struct written *all = calloc(nr, sizeof(*all));
	struct kmt_writer *w = writer_to(fd);
	struct kmt_counts counts = {0};
	char error[KMT_ERROR_SIZE];
	u32 *live = calloc(nr, sizeof(*live)), nr_live = 0;
	u64 now = 0;

	for (size_t i = 0; i < nr; i++) {
		unsigned long r = tap_random(seed), s = tap_random(seed);
		bool release = nr_live && (r & 15) < 7;
		struct kmt_shape shape = shape_of(release  ? KMT_KFREE
						  : r & 16 ? KMT_CACHE_ALLOC
							   : KMT_CALLOC);
		struct written *e = &all[i];
		u64 arg = (s >> 8) % (1UL << (s & 47));
		u32 victim = nr_live ? (u32)(s % nr_live) : 0, id = release ? live[victim] : 0;

		now += (r >> 8) % 3000 * ((r & 32) != 0);
		if (!release) {
			shape.requested = r >> 10 & 1023;
			shape.allocated = shape.requested + 3;
			shape.gfp = (u32)(r >> 20 & 0xffff);
			shape.node = (s32)(r >> 40 & 3) - 1;
		}
		if (shape.kind == KMT_CACHE_ALLOC) {
			snprintf(e->cache, sizeof(e->cache), "cache %lu", r >> 30 & 63);
			if (kmt_write_cache(w, e->cache, strlen(e->cache), &shape.cache))
				abort();
		} else if (!release && r & 64) {
			shape.flags = KMT_ARG_INLINE;
			shape.requested = 0;
		}
		e->event = (struct kmt_event){.time_ns = now / 1000 * 1000,
					      .arg = shape.flags ? arg : shape.requested,
					      .tid = (s32)(s >> 50 & 31) - 1,
					      .cpu = (u16)(s >> 40 & 3),
					      .kind = shape.kind};
		if (kmt_write(w, now, e->event.cpu, e->event.tid, &shape, arg, &id)) {
			ok(false, "event %zu: %s", i, kmt_writer_error(w));
			abort();
		}
		e->event.id = id;
		e->shape = shape;
		if (release)
			live[victim] = live[--nr_live];
		else
			live[nr_live++] = id;
	}
	ok_eq(kmt_writer_commit(w, &counts, error), 0);
	free(live);
	return all;
}

static void random_events_come_back_as_written(void)
{
	size_t nr = tap_number("KMT_TEST_EVENTS", 200000), at = 0;
	unsigned long seed = tap_seed() | 1;
	int fd = memory_file("", 0), wrong = 0;
	struct written *all = random_trace(fd, nr, &seed);
	char error[KMT_ERROR_SIZE];
	struct kmt_event events[777];
	struct kmt_reader *r;
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	r = kmt_open_fd(fd, "test.kmt", error);
	ok(r != NULL, "%s", error);
	while ((n = kmt_read(r, events, 1 + tap_random(&seed) % 777)) > 0) {
		for (ssize_t i = 0; i < n && wrong < 5; i++, at++) {
			const struct kmt_event *e = &events[i], *x = &all[at].event;
			u32 nr_shapes;
			const struct kmt_shape *shape = &kmt_shapes(r, &nr_shapes)[e->shape];
			struct kmt_shape want = all[at].shape;

			want.cache = shape->cache;
			if (e->time_ns != x->time_ns || e->arg != x->arg || e->id != x->id ||
			    e->tid != x->tid || e->cpu != x->cpu || e->kind != x->kind ||
			    memcmp(shape, &want, sizeof(want)) ||
			    (shape->kind == KMT_CACHE_ALLOC &&
			     strcmp(kmt_cache_name(r, shape->cache), all[at].cache))) {
				ok(false, "event %zu differs", at);
				wrong++;
			}
		}
	}
	ok(n == 0, "%s", kmt_error(r));
	ok_eq(at, nr);
	kmt_close(r);
	free(all);
	close(fd);
}

static void a_trace_gets_its_name_when_it_is_whole(void)
{
	char folder[] = "/tmp/kmt_test.XXXXXX", path[64], error[KMT_ERROR_SIZE];
	struct kmt_counts counts = {0};
	struct kmt_writer *w;

	if (!mkdtemp(folder))
		abort();
	snprintf(path, sizeof(path), "%s/a.kmt", folder);
	w = kmt_writer_create(path, &trace_info, error);
	ok(w && access(path, F_OK), "there too early");
	kmt_writer_abort(w);
	ok(rmdir(folder) == 0, "something was left behind");
	ok(kmt_writer_create(path, &trace_info, error) == NULL, "made without a folder");
	if (mkdir(folder, 0700))
		abort();
	w = kmt_writer_create(path, &trace_info, error);
	ok_eq(kmt_writer_commit(w, &counts, error), 0);
	ok(!access(path, F_OK), "not there");
	unlink(path);
	ok(rmdir(folder) == 0, "something was left behind");
	w = kmt_writer_create("/dev/full", &trace_info, error);
	ok(w == NULL && strstr(error, "No space left"), "%s", w ? "made" : error);
}

int main(void)
{
	RUN(the_writer_refuses_what_cannot_be);
	RUN(ids_are_dense_and_the_last_freed_is_taken_first);
	RUN(random_events_come_back_as_written);
	RUN(a_trace_gets_its_name_when_it_is_whole);
	return done();
}
