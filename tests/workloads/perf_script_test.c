/* SPDX-License-Identifier: MIT */
/* Lines of perf script, files of them, and what the converter makes of objects and pages. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "tests/tap/tap.h"
#include "workloads/convert.h"
#include "workloads/gfp_names.h"
#include "workloads/live_map.h"
#include "workloads/perf_script.h"
#include "workloads/text_input.h"

static struct perf_event parsed(const char *line)
{
	struct perf_event event;
	const char *problem = perf_script_parse(line, strlen(line), &event);

	ok(!problem, "%s: %s", problem, line);
	return event;
}

static void an_allocation_has_all_its_fields(void)
{
	struct perf_event e = parsed(
		"            make 30266 [001]  1126.998579:      kmem:kmem_cache_alloc: "
		"call_site=getname_flags.part.0+0x24 ptr=0xffff88810087d000 name=names_cache "
		"bytes_req=4095 bytes_alloc=4096 gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 "
		"accounted=false");

	ok_eq(e.kind, PERF_CACHE_ALLOC);
	ok_eq(e.tid, 30266);
	ok_eq(e.cpu, 1);
	ok_eq(e.time_ns, 1126998579000);
	ok_eq(e.time_unit_ns, 1000);
	ok_eq(e.address, 0xffff88810087d000);
	ok_eq(e.requested, 4095);
	ok_eq(e.allocated, 4096);
	ok_eq(e.node, -1);
	ok(e.name_length == 11 && !memcmp(e.name, "names_cache", 11), "name");
	ok_eq(e.gfp, gfp_from_names("GFP_KERNEL", 10) | KMT_GFP_ZERO);
}

static void pages_have_frame_order_and_mobility(void)
{
	struct perf_event e = parsed(
		"             cc1 30556 [000]  1129.473210123:  kmem:mm_page_alloc: page=0x19b025 "
		"pfn=0x19b025 order=9 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_COMP");

	ok_eq(e.kind, PERF_PAGE_ALLOC);
	ok_eq(e.time_unit_ns, 1);
	ok_eq(e.time_ns, 1129473210123);
	ok_eq(e.address, 0x19b025);
	ok_eq(e.order, 9);
	ok_eq(e.migratetype, 1);
	ok(e.gfp & KMT_GFP_MOVABLE && e.gfp & KMT_GFP_COMP && e.gfp & KMT_GFP_HIGHMEM, "%#x",
	   e.gfp);
}

static void a_thread_may_have_any_name(void)
{
	static const char *const names[] = {
		"kworker/0:1-ev",
		"kworker/u8:2-ex",
		"a b c",
		"[x] 12",
		"Web Content",
		":-1",
		"1 [0] 2.3: k",
		"memfd:sealed-91",
		"a [001] 1.2:",
		"\xc3\xa9\xc3\xa9",
		"",
		"[",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct perf_event e;
		char line[256];

		snprintf(line, sizeof(line), "%16s %5d [%03d] %5d.%06d: %25s ptr=(nil)", names[i],
			 77, 3, 1000, 42, "kmem:kfree: call_site=x+0x1");
		e = parsed(line);
		ok(e.tid == 77 && e.cpu == 3 && e.time_ns == 1000000042000 &&
			   e.kind == PERF_KFREE && !e.address,
		   "%s", line);
	}
	ok_eq(parsed(":-1    -1 [001]  1127.125948: kmem:mm_page_free: page=0x1 pfn=0x1 order=0")
		      .tid,
	      -1);
}

static void kernels_of_old_are_understood(void)
{
	struct perf_event e =
		parsed("a 1 [0] 1.000001: kmem:kmem_cache_alloc_node: call_site=ffffffff8123 "
		       "ptr=0xffff8881 bytes_req=10 bytes_alloc=16 gfp_flags=GFP_KERNEL node=3");

	ok_eq(e.kind, PERF_CACHE_ALLOC);
	ok_eq(e.node, 3);
	ok(!e.name, "a name");
	e = parsed("a 1 [0] 1.000001: kmem:kfree: call_site=ffffffff8123 ptr=(null)");
	ok_eq(e.address, 0);
	e = parsed("a 1 [0] 1.000001: kmem:mm_page_free: page=0xffffea0000 pfn=1234 order=2");
	ok_eq(e.address, 1234);
}

static void events_of_no_use_are_told_apart(void)
{
	ok_eq(parsed("").kind, PERF_BLANK);
	ok_eq(parsed("   ").kind, PERF_BLANK);
	ok_eq(parsed("# captured on: today").kind, PERF_BLANK);
	ok_eq(parsed("a 1 [0] 1.000001: kmem:rss_stat: mm_id=1 curr=1 member=0 size=4096B").kind,
	      PERF_OTHER);
	ok_eq(parsed("a 1 [0] 1.000001: sched:sched_switch: prev_comm=a ==> next_comm=b").kind,
	      PERF_OTHER);
	ok_eq(parsed("a 1 [0] 1.000001: kmem:mm_page_free_batched: page=0x1 pfn=0x1 order=0").kind,
	      PERF_PAGE_FREE_BATCHED);
	ok_eq(parsed("a 1 [0] 1.000001: kmem:mm_page_pcpu_drain: page=0x1 pfn=0x1 order=0 "
		     "migratetype=1")
		      .kind,
	      PERF_PCPU_DRAIN);
}

static void a_line_that_is_wrong_is_said_to_be(void)
{
	static const char *const lines[] = {
		"once upon a time",
		"a 1 [0] 1.000001",
		"a 1 [0] 1.000001:",
		"a 1 [0] 1.000001: kmem",
		"a 1 [0] 1.000001: kmem:kfree",
		"a 1 [0] 1.01: kmem:kfree: ptr=0x1",
		"a x [0] 1.000001: kmem:kfree: ptr=0x1",
		"a 1 [x] 1.000001: kmem:kfree: ptr=0x1",
		"a 1 [99999999] 1.000001: kmem:kfree: ptr=0x1",
		"a 1 [0] 99999999999999999999.000001: kmem:kfree: ptr=0x1",
		"a 1 [0] 1.000001: kmem:kfree: call_site=x",
		"a 1 [0] 1.000001: kmem:kfree: ptr=",
		"a 1 [0] 1.000001: kmem:kfree: ptr=0x",
		"a 1 [0] 1.000001: kmem:kfree: ptr=0x12345678123456789",
		"a 1 [0] 1.000001: kmem:kfree: ptr=0x1z",
		"a 1 [0] 1.000001: kmem:kfree: ptr",
		"a 1 [0] 1.000001: kmem:kmalloc: call_site=x ptr=0x1 bytes_req=1 bytes_alloc=8",
		"a 1 [0] 1.000001: kmem:kmalloc: call_site=x ptr=0x1 bytes_req=9223372036854775808 "
		"bytes_alloc=8 "
		"gfp_flags=GFP_KERNEL",
		"a 1 [0] 1.000001: kmem:mm_page_free: page=0x1 pfn=0x1 order=11",
		"a 1 [0] 1.000001: kmem:mm_page_free: page=0x1 pfn=0x1 order=-1",
		"a 1 [0] 1.000001: kmem:kmem_cache_alloc: ptr=0x1 name=x",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct perf_event event;

		ok(perf_script_parse(lines[i], strlen(lines[i]), &event), "taken: %s", lines[i]);
	}
}

static void every_prefix_of_a_line_is_an_error_or_a_shorter_line(void)
{
	const char *line = "     perf-exec 30267 [000]  1126.998826: kmem:kmalloc: "
			   "call_site=ida_alloc_range+0x39b "
			   "ptr=0xffff8881 bytes_req=32 bytes_alloc=32 gfp_flags=GFP_KERNEL "
			   "node=-1 accounted=false";
	size_t must_have = (size_t)(strstr(line, "GFP_KERNEL") - line);

	for (size_t n = 1; n < strlen(line); n++) {
		/* On the heap, so that a sanitizer sees a step too far. */
		char *copy = memcpy(malloc(n), line, n);
		struct perf_event event;
		bool blank = strspn(line, " ") >= n;

		ok(!perf_script_parse(copy, n, &event) == (blank || n >= must_have) ||
			   n > must_have,
		   "cut at %zu", n);
		free(copy);
	}
}

static void flags_are_those_of_their_names(void)
{
	ok_eq(gfp_from_names("GFP_NOWAIT", 10), KMT_GFP_KSWAPD_RECLAIM | KMT_GFP_NOWARN);
	ok_eq(gfp_from_names("GFP_ATOMIC|__GFP_NOMEMALLOC", 27),
	      KMT_GFP_HIGH | KMT_GFP_KSWAPD_RECLAIM | KMT_GFP_NOMEMALLOC);
	ok_eq(gfp_from_names("none", 4), 0);
	ok_eq(gfp_from_names("", 0), 0);
	ok_eq(gfp_from_names("__GFP_IO|__GFP_FANCY", 20), KMT_GFP_IO | KMT_GFP_OTHER);
	ok_eq(gfp_from_names("GFP_DMA32", 9), KMT_GFP_DMA32);
}

static int file_of(const void *bytes, size_t length)
{
	int fd = memfd_create("perf_script_test", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

/* Convert into a memory file; -errno, and the trace's fd (the caller's to close) if all went
 * well. */
static int converted(int fd, const struct convert_options *options, struct kmt_counts *counts,
		     int *trace, char error[KMT_ERROR_SIZE])
{
	int result;

	*trace = file_of("", 0);
	result = convert_trace(fd, "text", NULL, *trace, options, counts, error);
	close(fd);
	lseek(*trace, 0, SEEK_SET);
	return result;
}

static void fails_with(const char *text, size_t length, const char *line)
{
	struct convert_options options = {0};
	char error[KMT_ERROR_SIZE] = "";
	struct kmt_counts counts;
	int trace;

	ok(converted(file_of(text, length), &options, &counts, &trace, error) < 0, "converted");
	ok(!strncmp(error, line, strlen(line)), "wanted '%s', got '%s'", line, error);
	close(trace);
}

#define KFREE(time, ptr) "a 1 [0] " time ": kmem:kfree: call_site=x ptr=" ptr "\n"
#define KMALLOC(time, ptr)                                                                         \
	"a 1 [0] " time ": kmem:kmalloc: call_site=x ptr=" ptr                                     \
	" bytes_req=10 bytes_alloc=16 gfp_flags=GFP_KERNEL\n"
#define PAGE_ALLOC(time, pfn, order)                                                               \
	"a 1 [0] " time ": kmem:mm_page_alloc: page=0x1 pfn=" pfn " order=" order                  \
	" migratetype=0 gfp_flags=GFP_KERNEL\n"
#define PAGE_FREE(time, pfn, order)                                                                \
	"a 1 [0] " time ": kmem:mm_page_free: page=0x1 pfn=" pfn " order=" order "\n"

static void a_bad_file_is_said_to_be_with_its_line(void)
{
	static char long_line[100000];
	static const char cut[] =
		KFREE("1.000001", "0x1") "a 1 [0] 1.000002: kmem:kfree: call_site=x ptr=0x12";

	fails_with("", 0, "text:1: the file is empty");
	fails_with("\n", 1, "text: holds no events");
	fails_with(cut, strlen(cut), "text:2: truncated: the last line has no end");
	fails_with("x\n", 2, "text:1: not a line of perf script (comm, tid, [cpu], time)");
	fails_with(KFREE("1.000001", "0x1") KFREE("0.999999", "0x1"),
		   2 * strlen(KFREE("1.000001", "0x1")), "text:2: time goes back");
	memset(long_line, 'x', sizeof(long_line));
	fails_with(long_line, sizeof(long_line), "text:1: a line of more than 65536 bytes");
	fails_with("\x28\xb5\x2f\xfd garbage", 12, "text:1: cannot decompress: ");
}

static void compressed_text_is_read_as_it_is(void)
{
	static char text[2000000];
	struct convert_options options = {0};
	char error[KMT_ERROR_SIZE] = "";
	struct kmt_counts counts;
	size_t length = 0, bound, packed_length;
	int nr = 0, trace;
	char *packed;

	while (length < sizeof(text) - 200) {
		length += (size_t)sprintf(text + length, KFREE("1.%06d", "0x%x"), nr, nr % 100);
		nr++;
	}
	bound = ZSTD_compressBound(length);
	packed = malloc(bound);
	packed_length = ZSTD_compress(packed, bound, text, length, 3);
	ok_eq(converted(file_of(packed, packed_length), &options, &counts, &trace, error), 0);
	ok(!error[0], "%s", error);
	ok_eq(counts.source_lines, nr);
	ok_eq(counts.null_frees, nr / 100 + (nr % 100 != 0));
	ok_eq(counts.unknown_object_frees + counts.null_frees, nr);
	close(trace);
	for (size_t cut = 1; cut < packed_length; cut += 997) {
		ok(converted(file_of(packed, cut), &options, &counts, &trace, error) < 0,
		   "cut at %zu", cut);
		close(trace);
	}
	free(packed);
}

static void what_traces_lack_is_counted(void)
{
	static const char text[] =
		KMALLOC("1.000001", "0x10") KMALLOC("1.000002", "0x20") KFREE("1.000003", "0x10")
			KFREE("1.000004", "(nil)") KFREE("1.000005", "0x30") /* null, unknown */
		KMALLOC("1.000006", "0x20") KMALLOC("1.000007", "(nil)")     /* missed, failed */
		PAGE_ALLOC("1.000008", "0x100", "2") PAGE_FREE("1.000009", "0x100", "1") /* split */
		PAGE_FREE("1.000010", "0x102", "1") /* split, and now free */
		PAGE_FREE("1.000011", "0x100", "0") /* unknown */
		PAGE_ALLOC("1.000012", "0x200", "3")
			PAGE_ALLOC("1.000013", "0x204", "0") /* missed */
		"a 1 [0] 1.000014: kmem:mm_page_free_batched: page=0x1 pfn=0x204 "
		"order=0\n" PAGE_FREE("1.000014", "0x204",
				      "0") "a 1 [0] 1.000015: kmem:rss_stat: x=1\n";
	struct convert_options options = {0};
	char error[KMT_ERROR_SIZE] = "";
	struct kmt_counts counts;
	int trace;

	ok_eq(converted(file_of(text, strlen(text)), &options, &counts, &trace, error), 0);
	ok(!error[0], "%s", error);
	ok_eq(counts.source_lines, 16);
	ok_eq(counts.kinds[KMT_KMALLOC], 3);
	ok_eq(counts.kinds[KMT_KFREE], 2);
	ok_eq(counts.null_frees, 1);
	ok_eq(counts.unknown_object_frees, 1);
	ok_eq(counts.missed_object_frees, 1);
	ok_eq(counts.failed_allocs, 1);
	ok_eq(counts.alive_objects, 1);
	ok_eq(counts.alive_object_bytes, 10);
	ok_eq(counts.split_page_frees, 2);
	ok_eq(counts.unknown_page_frees, 1);
	ok_eq(counts.missed_page_frees, 1);
	ok_eq(counts.kinds[KMT_PAGE_ALLOC], 3);
	ok_eq(counts.kinds[KMT_PAGE_FREE], 3);
	ok_eq(counts.alive_pages, 0);
	ok_eq(counts.page_free_batched, 1);
	ok_eq(counts.other_events, 1);
	ok_eq(counts.duration_ns, 13000);
	close(trace);
}

static void a_part_of_a_trace_can_be_cut_out(void)
{
	static const char text[] = KMALLOC("1.000001", "0x10") KMALLOC("1.000002", "0x20")
		KFREE("1.000003", "0x10") PAGE_ALLOC("1.000004", "0x100", "2")
			KFREE("1.000005", "0x20") PAGE_FREE("1.000006", "0x100", "2");
	struct convert_options whole = {0}, middle = {.first = 1, .events = 4};
	struct kmt_counts counts, again;
	char error[KMT_ERROR_SIZE] = "";
	int trace, copy, part;

	ok_eq(converted(file_of(text, strlen(text)), &middle, &counts, &part, error), 0);
	ok_eq(counts.unknown_object_frees, 1);
	ok_eq(counts.kinds[KMT_KMALLOC], 1);
	ok_eq(counts.alive_pages, 1);
	ok_eq(counts.duration_ns, 3000);
	close(part);
	ok_eq(converted(file_of(text, strlen(text)), &whole, &counts, &trace, error), 0);
	ok_eq(converted(dup(trace), &whole, &again, &copy, error), 0);
	ok(!memcmp(&counts, &again, sizeof(counts)), "a copy counts otherwise");
	close(copy);
	lseek(trace, 0, SEEK_SET);
	ok_eq(converted(trace, &middle, &again, &part, error), 0);
	ok(!error[0], "%s", error);
	ok_eq(again.unknown_object_frees, 1);
	ok_eq(again.alive_pages, 1);
	ok_eq(again.duration_ns, 3000);
	close(part);
}

static void the_live_map_agrees_with_an_array(void)
{
	enum { KEYS = 3000 };
	static u32 model[KEYS];
	unsigned long seed = tap_seed() | 1;
	struct live_map map = {0};
	u32 nr = 0;

	memset(model, 0xff, sizeof(model));
	ok_eq(live_map_get(&map, 5), LIVE_MAP_NONE);
	live_map_remove(&map, 5);
	for (int i = 0; i < 200000; i++) {
		u32 k = (u32)(tap_random(&seed) % KEYS);
		u64 key = (u64)k << 6;

		if (live_map_get(&map, key) != model[k]) {
			ok(false, "key %u: %u, not %u", k, live_map_get(&map, key), model[k]);
			break;
		}
		if (model[k] != LIVE_MAP_NONE) {
			live_map_remove(&map, key);
			model[k] = LIVE_MAP_NONE;
			nr--;
		} else {
			model[k] = (u32)i;
			ok_eq(live_map_add(&map, key, (u32)i), 0);
			nr++;
		}
	}
	ok_eq(map.nr, nr);
	live_map_free(&map);
}

int main(void)
{
	RUN(an_allocation_has_all_its_fields);
	RUN(pages_have_frame_order_and_mobility);
	RUN(a_thread_may_have_any_name);
	RUN(kernels_of_old_are_understood);
	RUN(events_of_no_use_are_told_apart);
	RUN(a_line_that_is_wrong_is_said_to_be);
	RUN(every_prefix_of_a_line_is_an_error_or_a_shorter_line);
	RUN(flags_are_those_of_their_names);
	RUN(a_bad_file_is_said_to_be_with_its_line);
	RUN(compressed_text_is_read_as_it_is);
	RUN(what_traces_lack_is_counted);
	RUN(a_part_of_a_trace_can_be_cut_out);
	RUN(the_live_map_agrees_with_an_array);
	return done();
}
