/* SPDX-License-Identifier: MIT */
/* Raw recordings made by hand, word by word, and the traces that come of them. */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/compiler.h"
#include "tests/tap/tap.h"
#include "workloads/record/merge.h"
#include "workloads/record/raw.h"

#define HZ     1000000000ULL
#define BASE   1000ULL
#define CHUNKS 5
#define LOG    3 /* the first chunk of the log */

static struct raw_header header;
static struct raw_chunk chunks[CHUNKS];
static volatile sig_atomic_t stop;
static u64 words[CHUNKS][64];
static size_t nr[CHUNKS];
static char out[64], error[KMT_ERROR_SIZE];
static struct record_process process;
static struct kmt_event events[64];
static struct kmt_counts counts;
static ssize_t nr_events;

static void begin(void)
{
	header = (struct raw_header){.magic = RAW_MAGIC,
				     .chunk_bytes = RAW_CHUNK_BYTES,
				     .pid = 42,
				     .parent = 1,
				     .clock_hz = HZ,
				     .base = BASE,
				     .base_ns = 5000,
				     .first_log = LOG,
				     .nr_hot = LOG,
				     .nr_log = CHUNKS - LOG,
				     .nr_serials = CHUNKS,
				     .command = "work\nhard"};
	for (int i = 1; i < CHUNKS; i++)
		chunks[i] = (struct raw_chunk){RAW_CHUNK_MAGIC, BASE, (u64)i, i, 3};
	stop = 0;
	memset(nr, 0, sizeof(nr));
	memset(words, 0, sizeof(words));
}

static void word(int chunk, u64 value)
{
	words[chunk][nr[chunk]++] = value;
}

static void thread(int chunk, s32 tid)
{
	word(chunk, (u64)(u32)tid << 4 | RAW_THREAD);
}

static void at_clock(int chunk, u64 clock)
{
	word(chunk, clock << 16 | 3 << 4 | RAW_CLOCK);
}

/* Without a clock of its own. */
static void untimed(int chunk, enum raw_kind kind, u64 address, u64 size)
{
	word(chunk, address << 17 | size << 4 | kind);
}

static void event(int chunk, enum raw_kind kind, u64 address, u64 clock, u64 size)
{
	at_clock(chunk, clock);
	untimed(chunk, kind, address, size);
}

static void resize(int chunk, u64 old, u64 address, u64 from, u64 to, u64 size)
{
	at_clock(chunk, from);
	untimed(chunk, RAW_OLD, old, 0);
	event(chunk, RAW_REALLOC, address, to, size);
}

static int raw_file(void)
{
	int fd = memfd_create("raw", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)CHUNKS * RAW_CHUNK_BYTES) ||
	    pwrite(fd, &header, sizeof(header), 0) != sizeof(header))
		abort();
	for (int i = 1; i < CHUNKS; i++) {
		struct raw_chunk chunk = chunks[i];
		off_t at = (off_t)i * RAW_CHUNK_BYTES;

		if (!nr[i])
			chunk.magic = 0;

		if (pwrite(fd, &chunk, sizeof(chunk), at) != sizeof(chunk) ||
		    pwrite(fd, words[i], sizeof(words[i]), at + (off_t)sizeof(chunk)) !=
			    sizeof(words[i]))
			abort();
	}
	return fd;
}

static void read_back(void)
{
	struct kmt_reader *reader = kmt_open(out, error);

	ok(reader != NULL, "%s", error);
	nr_events = reader ? kmt_read(reader, events, ARRAY_SIZE(events)) : -1;
	if (reader && nr_events >= 0) {
		ok_eq(kmt_read(reader, events, 0), 0);
		while (kmt_read(reader, &events[nr_events], 1) > 0)
			nr_events++;
		counts = *kmt_counts(reader);
	}
	kmt_close(reader);
	unlink(out);
}

static int merge(void)
{
	int fd = raw_file(), result, named;

	snprintf(out, sizeof(out), "/tmp/kmm-merge.XXXXXX");
	named = mkstemp(out);
	if (named < 0)
		abort();
	close(named);
	error[0] = '\0';
	result = record_merge(fd, "raw", out, &stop, &process, error);
	close(fd);
	if (result)
		unlink(out);
	else
		read_back();
	return result;
}

static void chunks_are_merged_by_time(void)
{
	begin();
	thread(1, 7);
	event(1, RAW_MALLOC, 0x1000, 10, 100);
	event(1, RAW_FREE, 0x2000, 40, 0);
	thread(2, 8);
	event(2, RAW_CALLOC, 0x2000, 20, 200);
	event(2, RAW_FREE, 0x1000, 30, 0);
	thread(2, 9); /* the chunk goes on as another thread's */
	event(2, RAW_MALLOC, 0x1000, 50, 300);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 5);
	ok(events[0].kind == KMT_MALLOC && events[0].tid == 7 && events[0].arg == 100, "%d %d",
	   events[0].kind, events[0].tid);
	ok(events[1].kind == KMT_CALLOC && events[1].tid == 8 && events[1].arg == 200, "%d %d",
	   events[1].kind, events[1].tid);
	ok(events[2].kind == KMT_FREE && events[2].tid == 8 && events[2].id == events[0].id, "%d",
	   events[2].kind);
	ok(events[3].kind == KMT_FREE && events[3].id == events[1].id, "%d", events[3].kind);
	ok(events[4].tid == 9 && events[4].cpu == 3 && events[4].time_ns == 40, "%d %d %llu",
	   events[4].tid, events[4].cpu, (unsigned long long)events[4].time_ns);
	ok_eq(counts.missed_object_frees + counts.unknown_object_frees, 0);
	ok(!strcmp(process.command, "work?hard"), "%s", process.command);
	ok_eq(process.pid, 42);
}

/* While realloc runs its old address is another thread's already. */
static void a_realloc_gives_its_address_up_before_it_returns(void)
{
	begin();
	thread(1, 1);
	event(1, RAW_MALLOC, 0x1000, 10, 100);
	resize(1, 0x1000, 0x3000, 20, 40, 500);
	thread(2, 2);
	event(2, RAW_MALLOC, 0x1000, 30, 100);
	event(2, RAW_FREE, 0x3000, 50, 0);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 4);
	ok_eq(events[1].kind, KMT_MALLOC);
	ok(events[2].kind == KMT_REALLOC && events[2].id == events[0].id && events[2].arg == 500,
	   "%d %u", events[2].kind, events[2].id);
	ok(events[3].kind == KMT_FREE && events[3].id == events[0].id, "%u", events[3].id);
	ok_eq(counts.missed_object_frees + counts.unknown_object_frees, 0);
}

static void a_realloc_that_fails_leaves_its_object(void)
{
	begin();
	event(1, RAW_MALLOC, 0x1000, 10, 100);
	resize(1, 0x1000, 0, 20, 30, 60000);
	resize(1, 0x1000, 0, 40, 50, 0); /* frees */
	event(1, RAW_MALLOC, 0, 60, 1);
	event(1, RAW_FREE, 0, 70, 0);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 2);
	ok(events[1].kind == KMT_FREE && events[1].time_ns == 40, "%d", events[1].kind);
	ok_eq(counts.failed_allocs, 2);
	ok_eq(counts.null_frees, 1);
}

static void what_was_cut_short_is_passed_over(void)
{
	begin();
	event(1, RAW_MALLOC, 0x1000, 10, 100);
	word(1, 0);  /* taken, never written */
	word(1, 15); /* no kind */
	event(1, RAW_MALLOC, 0x2000, 20, 200);
	word(1, 5000ULL << 4 | RAW_SIZE); /* its head never came */
	word(1, 0);
	event(1, RAW_MALLOC, 0x3000, 30, 300);
	untimed(1, RAW_OLD, 0x1000, 0); /* the realloc never came */
	word(1, 0);
	untimed(1, RAW_REALLOC, 0x2000, 1); /* of what? */
	untimed(1, RAW_OLD, 0x1000, 0);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 3);
	ok_eq(events[2].arg, 300);
}

static void what_does_not_fit_is_said_in_front(void)
{
	begin();
	word(1, (BASE + 500000000000000ULL) << 4 | RAW_TIME);
	word(1, 1ULL << 40 << 4 | RAW_SIZE);
	word(1, 12 << 4 | RAW_ALIGN);
	untimed(1, RAW_MEMALIGN, 0x100000, 0);
	untimed(1, RAW_OLD, 0x100000, 0);
	word(1, (BASE + 500000000100000ULL) << 4 | RAW_TIME);
	word(1, ((1ULL << 56) + 1) << 4 | RAW_ADDRESS);
	untimed(1, RAW_REALLOC, 0, 77);
	word(1, ((1ULL << 56) + 1) << 4 | RAW_ADDRESS);
	untimed(1, RAW_FREE, 0, 0);
	event(2, RAW_MALLOC, 0x300000, 0, 1);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 4);
	ok(events[1].kind == KMT_MEMALIGN && events[1].order == 12 && events[1].arg == 1ULL << 40,
	   "%d %d", events[1].kind, events[1].order);
	ok(events[2].kind == KMT_REALLOC && events[2].time_ns == 500000000100000ULL, "%llu",
	   (unsigned long long)events[2].time_ns);
	ok(events[3].kind == KMT_FREE && events[3].id == events[1].id, "%d", events[3].kind);
}

/* A stamp holds for what follows; of a thread's chunks the one begun first goes first. */
static void events_without_a_clock_keep_their_order(void)
{
	begin();
	chunks[1].serial = 9; /* hot, begun when the one in the log was full */
	chunks[1].base = BASE + 50;
	untimed(1, RAW_FREE, 0x1000, 0);
	untimed(1, RAW_MALLOC, 0x1000, 3);
	event(LOG, RAW_MALLOC, 0x1000, 10, 1);
	untimed(LOG, RAW_FREE, 0x1000, 0);
	at_clock(LOG, 50);
	untimed(LOG, RAW_MALLOC, 0x1000, 2);
	event(2, RAW_MALLOC, 0x2000, 20, 4);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 6);
	ok_eq(events[1].time_ns, 0);
	ok_eq(events[2].arg, 4);
	ok_eq(events[3].arg, 2);
	ok_eq(events[5].arg, 3);
	ok_eq(counts.missed_object_frees + counts.unknown_object_frees, 0);
}

/* Killed while it copied its chunk into the log, or before it began it again. */
static void of_a_chunk_and_its_copy_one_counts(void)
{
	begin();
	for (int i = 1; i <= LOG; i += LOG - 1)
		event(i, RAW_MALLOC, 0x1000, 10, 100);
	event(1, RAW_FREE, 0x1000, 20, 0); /* the copy is cut off here */
	chunks[LOG].serial = chunks[1].serial;
	event(LOG + 1, RAW_MALLOC, 0x1000, 30, 1);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 3);
	ok_eq(counts.missed_object_frees + counts.unknown_object_frees, 0);
}

/* Its chunk begins before the realloc does, whose first half others' calls depend on. */
static void a_realloc_may_be_the_first_in_its_chunk(void)
{
	begin();
	event(1, RAW_MALLOC, 0x1000, 10, 100);
	chunks[2].base = BASE + 20;
	resize(2, 0x1000, 0x3000, 0, 20, 500);
	event(1, RAW_MALLOC, 0x1000, 30, 100);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 3);
	ok_eq(events[1].kind, KMT_MALLOC);
	ok_eq(events[2].kind, KMT_REALLOC);
	ok_eq(counts.missed_object_frees + counts.unknown_object_frees, 0);
}

static void it_stops_when_told(void)
{
	begin();
	event(1, RAW_MALLOC, 0x1000, 10, 100);
	stop = 2;
	ok(merge() == -EINTR && !strcmp(error, "interrupted"), "%s", error);
}

/* A handler's calls stand before the one that it interrupted, and have later times. */
static void time_does_not_go_back_in_a_chunk(void)
{
	begin();
	event(1, RAW_MALLOC, 0x1000, 20, 1);
	event(1, RAW_FREE, 0x1000, 30, 0);
	event(1, RAW_MALLOC, 0x1000, 10, 2);
	event(2, RAW_FREE, 0x1000, 40, 0);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 4);
	ok_eq(counts.missed_object_frees + counts.unknown_object_frees, 0);
}

static void frees_that_do_not_match_are_counted(void)
{
	begin();
	event(1, RAW_FREE, 0x9000, 5, 0);
	event(1, RAW_MALLOC, 0x1000, 10, 1);
	event(1, RAW_MALLOC, 0x1000, 20, 2);
	resize(1, 0x5000, 0x6000, 30, 40, 60);
	ok_eq(merge(), 0);
	ok_eq(nr_events, 4); /* with the implied free; the unknown object begins by realloc */
	ok_eq(counts.unknown_object_frees, 2);
	ok_eq(counts.missed_object_frees, 1);
}

static void a_process_without_events_has_no_trace(void)
{
	begin();
	ok_eq(merge(), -ENODATA);
	header.lost = 5;
	ok_eq(merge(), -ENODATA);
	ok_eq(process.lost, 5); /* which is said all the same */
	header = (struct raw_header){0};
	ok_eq(merge(), -ENODATA);
}

static void other_files_are_refused_in_one_line(void)
{
	begin();
	header.magic[6] = '9';
	ok(merge() == -EINVAL && strstr(error, "raw: is no raw recording"), "%s", error);
	begin();
	header.clock_hz = 0;
	ok(merge() == -EINVAL && strstr(error, "raw: has a header"), "%s", error);
	begin();
	header.chunk_bytes = 4096;
	ok(merge() == -EINVAL && strstr(error, "raw: has a header"), "%s", error);
}

/* --- a process that still runs --- */

#define RUN_CHUNKS 24 /* of the log */

static struct raw_header *running; /* mapped, a hot chunk behind it */
static int running_fd;

/* Events at clocks 1, 2, ..., the chunk into the log and begun again whenever it is full. */
static void *run_process(void *arg)
{
	struct raw_chunk *chunk = (struct raw_chunk *)((char *)running + RAW_CHUNK_BYTES);
	u64 *end = (u64 *)((char *)chunk + RAW_CHUNK_BYTES), clock = 0;

	for (u64 serial = 0; serial < RUN_CHUNKS; serial++) {
		chunk->base = BASE + clock;
		chunk->serial = serial;
		__atomic_store_n(&chunk->magic, RAW_CHUNK_MAGIC, __ATOMIC_RELEASE);
		for (u64 *at = (u64 *)(chunk + 1); at + 2 <= end; at += 2) {
			clock++;
			__atomic_store_n(&at[0],
					 (BASE + clock - chunk->base) << 16 | 3 << 4 | RAW_CLOCK,
					 __ATOMIC_RELEASE);
			__atomic_store_n(&at[1], (clock << 4) << 17 | 8 << 4 | RAW_MALLOC,
					 __ATOMIC_RELEASE);
		}
		if (pwrite(running_fd, chunk, RAW_CHUNK_BYTES,
			   (off_t)(2 + __atomic_fetch_add(&running->nr_log, 1, __ATOMIC_SEQ_CST)) *
				   RAW_CHUNK_BYTES) != RAW_CHUNK_BYTES)
			abort();
		__atomic_store_n(&chunk->magic, 0, __ATOMIC_SEQ_CST);
		memset(chunk + 1, 0, RAW_CHUNK_BYTES - sizeof(*chunk));
	}
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Does a merge have all events from the first to its last? Their number. */
static u64 merge_without_gaps(void)
{
	u64 last = 0, n = 0;
	int result;

	snprintf(out, sizeof(out), "/tmp/kmm-merge.XXXXXX");
	close(mkstemp(out));
	result = record_merge(running_fd, "raw", out, &stop, &process, error);
	if (result != -ENODATA) {
		struct kmt_reader *reader = kmt_open(out, error);
		ssize_t some;

		ok_eq(result, 0);
		while (reader && (some = kmt_read(reader, events, ARRAY_SIZE(events))) > 0) {
			n += (u64)some;
			last = events[some - 1].time_ns;
		}
		kmt_close(reader);
		ok(n && last == n - 1, "%llu events, the last at %llu", (unsigned long long)n,
		   (unsigned long long)last);
		ok_eq(process.counts.missed_object_frees, 0);
	}
	unlink(out);
	return n;
}

static void a_process_that_runs_has_a_front_of_its_events(void)
{
	bool done = false;
	pthread_t thread_id;
	u64 n = 0;

	begin();
	header.first_log = header.nr_hot = 2;
	header.nr_log = 0;
	running_fd = memfd_create("running", MFD_CLOEXEC);
	if (running_fd < 0 || ftruncate(running_fd, (off_t)2 * RAW_CHUNK_BYTES) ||
	    pwrite(running_fd, &header, sizeof(header), 0) != sizeof(header))
		abort();
	running = mmap(NULL, (size_t)2 * RAW_CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		       running_fd, 0);
	if (running == MAP_FAILED || pthread_create(&thread_id, NULL, run_process, &done))
		abort();
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		u64 now = merge_without_gaps();

		ok(now >= n, "less than before");
		n = now;
	}
	pthread_join(thread_id, NULL);
	ok_eq(merge_without_gaps(),
	      RUN_CHUNKS * ((RAW_CHUNK_BYTES - sizeof(struct raw_chunk)) / 16));
	munmap(running, (size_t)2 * RAW_CHUNK_BYTES);
	close(running_fd);
}

int main(void)
{
	RUN(chunks_are_merged_by_time);
	RUN(a_realloc_gives_its_address_up_before_it_returns);
	RUN(a_realloc_that_fails_leaves_its_object);
	RUN(what_was_cut_short_is_passed_over);
	RUN(what_does_not_fit_is_said_in_front);
	RUN(events_without_a_clock_keep_their_order);
	RUN(of_a_chunk_and_its_copy_one_counts);
	RUN(a_realloc_may_be_the_first_in_its_chunk);
	RUN(it_stops_when_told);
	RUN(time_does_not_go_back_in_a_chunk);
	RUN(frees_that_do_not_match_are_counted);
	RUN(a_process_without_events_has_no_trace);
	RUN(other_files_are_refused_in_one_line);
	RUN(a_process_that_runs_has_a_front_of_its_events);
	return done();
}
