/* SPDX-License-Identifier: MIT */
/* What kmm pagetable reads and sums: ranges in text, formats by name, sums against real tables. */
#include "bench/commands/pagetable.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/alloc/virt/machine.h"

static struct kmm *machine;

static void ranges_are_read_in_three_forms(void)
{
	static const struct {
		const char *text;
		u64 start, last;
	} good[] = {
		{"0", 0, 4095},
		{"7f0012345000", 0x7f0012345000, 0x7f0012345fff},
		{"0x1000-0x3000", 0x1000, 0x2fff},
		{"400000-401000", 0x400000, 0x400fff},
		{"1000+64K", 0x1000, 0x10fff},
		{"0+128T", 0, (1UL << 47) - 1},
		{"ffffffffffff0000+64K", 0xffffffffffff0000, ~0UL},
	};
	static const char *const bad[] = {
		"",
		"-",
		"+",
		"x",
		"0x",
		"0x0x1",
		"1000-",
		"1000-1000",
		"2000-1000",
		"1000+",
		"1000+0",
		"1000 ",
		" 1000",
		"1000-2000-",
		"1000+4Q",
		"fffffffffffff000+8K",
		"10000000000000000",
		"-1000",
		"1g",
		"0x1000-0x",
	};
	struct va_range range;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ok(!va_range_parse(good[i].text, &range), "%s refused", good[i].text);
		ok(range.start == good[i].start && range.last == good[i].last, "%s: %#lx..%#lx",
		   good[i].text, range.start, range.last);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(va_range_parse(bad[i], &range) == -EINVAL, "\"%s\" taken", bad[i]);
}

static void no_text_breaks_the_reader_of_ranges(void)
{
	static const char letters[] = "0123456789abcdefFxX+-KMGTiB ";
	unsigned long nr_ops = tap_ops(200000), random = tap_seed() | 1;

	for (unsigned long op = 0; op < nr_ops; op++) {
		size_t length = tap_random(&random) % 24;
		struct va_range range;
		char text[25];

		for (size_t i = 0; i < length; i++)
			text[i] = letters[tap_random(&random) % (sizeof(letters) - 1)];
		text[length] = '\0';
		if (!va_range_parse(text, &range))
			ok(range.start <= range.last, "%s: %#lx..%#lx", text, range.start,
			   range.last);
	}
}

static void lines_of_maps_are_read(void)
{
	static const struct {
		const char *line;
		u64 start, last, prot;
	} good[] = {
		{"08048000-0804c000 r-xp 00000000 08:01 123  /bin/cat\n", 0x8048000, 0x804bfff,
		 PTE_USER},
		{"7fff9df43000-7fff9df64000 rw-p 00000000 00:00 0  [stack]\n", 0x7fff9df43000,
		 0x7fff9df63fff, PTE_USER | PTE_WRITE | PTE_NX},
		{"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]",
		 0xffffffffff600000, 0xffffffffff600fff, PTE_USER},
	};
	static const char *const bad[] = {
		"",
		"\n",
		"08048000",
		"08048000-",
		"08048000-0804c000",
		"08048000-0804c000 ",
		"08048000-0804c000 rwx",
		"08048000-0804c000 abcd ",
		"0804c000-08048000 r-xp 0",
		"08048001-0804c000 r-xp 0",
		"-08048000-0804c000 r-xp 0",
		" 08048000-0804c000 r-xp 0",
		"1fffffffffffff000-1fffffffffffff001000 r-xp 0",
	};
	unsigned long nr_ops = tap_ops(100000), random = tap_seed() | 1;
	struct va_range range;
	u64 prot;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ok(!maps_line_parse(good[i].line, &range, &prot), "refused: %s", good[i].line);
		ok(range.start == good[i].start && range.last == good[i].last &&
			   prot == good[i].prot,
		   "%#lx..%#lx %#lx: %s", range.start, range.last, prot, good[i].line);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(maps_line_parse(bad[i], &range, &prot) == -EINVAL, "taken: %s", bad[i]);
	for (unsigned long op = 0; op < nr_ops; op++) {
		char line[80];

		/* One letter of a good line is another, or the line ends there. */
		snprintf(line, sizeof(line), "%s", good[op % ARRAY_SIZE(good)].line);
		line[tap_random(&random) % 40] = (char)tap_random(&random);
		if (!maps_line_parse(line, &range, &prot))
			ok(range.start < range.last && !(range.start & 4095), "%#lx..%#lx",
			   range.start, range.last);
	}
}

static void formats_are_found_by_name_and_by_cut(void)
{
	ok(format_find("x86_64") == &pgtable_x86_64, "x86_64");
	ok(format_find("x86-64") == &pgtable_x86_64, "x86-64");
	ok(format_find("i386-pse36") == &pgtable_i386_pse36, "i386-pse36");
	ok(format_find("10+10+12") == &pgtable_i386, "10+10+12");
	ok(format_find("20+12") == &pgtable_flat, "20+12");
	ok(format_find("2+9+9+12") == &pgtable_pae, "2+9+9+12");
	ok(format_find("9+9+9+9+9+12") == &pgtable_la57, "9+9+9+9+9+12");
	ok(!format_find("") && !format_find("x86") && !format_find("x86_64_") &&
		   !format_find("9+9+9+12"),
	   "what is none");
}

/* Up to eight ranges, one behind the other, some in the same table and some far away. */
static int random_ranges(const struct pgtable_format *format, unsigned long *random,
			 struct va_range ranges[8])
{
	u64 page = 1UL << format->page_shift, space = 1UL << (format->va_bits - 1);
	u64 at = tap_random(random) % (space / 4) & ~(page - 1);
	int nr = 0;

	while (nr < 8) {
		u64 bytes = (1 + tap_random(random) % 700) * page;
		unsigned int jump = (unsigned int)(tap_random(random) % (format->va_bits - 2));

		if (at + bytes >= space)
			break;
		ranges[nr++] = (struct va_range){at, at + bytes - 1, ""};
		at = (at + bytes + tap_random(random) % (1UL << jump)) & ~(page - 1);
		if (at < ranges[nr - 1].last)
			at += page;
	}
	return nr;
}

static void sums_are_what_real_tables_take(void)
{
	unsigned long nr_ops = tap_ops(20), random = tap_seed() | 1;

	for (unsigned long op = 0; op < nr_ops * PGTABLE_NR_FORMATS; op++) {
		const struct pgtable_format *format = pgtable_formats[op % PGTABLE_NR_FORMATS];
		struct va_range ranges[8];
		int nr_ranges = random_ranges(format, &random, ranges);
		struct pgtable_use sum, real;
		struct pgtable *table;

		ok_eq(pgtable_create(format, &table), 0);
		for (int i = 0; i < nr_ranges; i++)
			ok_eq(pgtable_map(table, ranges[i].start, 0,
					  (ranges[i].last - ranges[i].start + 1) >>
						  format->page_shift,
					  0, false),
			      0);
		format_sum(format, ranges, nr_ranges, &sum);
		pgtable_count(table, &real);
		for (unsigned int level = 1; level <= format->levels; level++)
			ok(sum.bytes[level] == real.bytes[level],
			   "%s, %d ranges from %#lx: level %u takes %lu, the sum is %lu",
			   format->name, nr_ranges, ranges[0].start, level, real.bytes[level],
			   sum.bytes[level]);
		ok_eq(sum.total_bytes, real.total_bytes);
		ok_eq(sum.vm_pte_bytes, real.vm_pte_bytes);
		pgtable_destroy(table);
	}
}

/* The frames of [va, va + 2 MiB) are those of one larger page. */
static bool could_be_larger(const struct pgtable *table, u64 va)
{
	struct pgtable_walk walk;
	u64 first = 0;

	for (u64 at = 0; at < HPAGE_SIZE; at += PAGE_SIZE) {
		if (!pgtable_walk(table, va + at, &walk))
			return false;
		first = at ? first : walk.pfn;
		if (walk.pfn != first + at / PAGE_SIZE)
			return false;
	}
	return IS_ALIGNED(first, HPAGE_SIZE / PAGE_SIZE);
}

static void a_process_has_larger_pages_wherever_its_mapping_begins(void)
{
	size_t size = 3 * HPAGE_SIZE;
	struct pgtable_walk walk;
	struct pid_pages pages;
	struct pgtable *table;
	char *memory, *large;

	if (TAP_SANITIZED) {
		skip("a sanitizer's shadow is too large to look through");
		return;
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		skip("no memory");
		return;
	}
	/* The mapping begins a page before a larger page does, whatever the kernel chose. */
	large = (char *)ALIGN_UP((uintptr_t)memory + PAGE_SIZE, HPAGE_SIZE);
	munmap(memory, (size_t)(large - PAGE_SIZE - memory));
	madvise(large - PAGE_SIZE, HPAGE_SIZE + PAGE_SIZE, MADV_HUGEPAGE);
	memset(large - PAGE_SIZE, 1, HPAGE_SIZE + PAGE_SIZE);
	ok_eq(pgtable_create(&pgtable_x86_64, &table), 0);
	ok_eq(pid_map(getpid(), table, true, &pages), 0);
	ok_eq(pages.nr_wrong, 0);
	if (!could_be_larger(table, (u64)large))
		skip("the kernel gave no larger page");
	else
		ok(pgtable_walk(table, (u64)large, &walk) && walk.level == 2, "level %u",
		   walk.level);
	pgtable_destroy(table);
	munmap(large - PAGE_SIZE, (size_t)(memory + size - large) + PAGE_SIZE);
}

/* A kernel that cannot search pagemap, for as long as this is set. */
static bool no_scan;
/* A process that ends, and is waited for, at the first search; 0: none. */
static pid_t dying;

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	if (dying) {
		kill(dying, SIGKILL);
		waitpid(dying, NULL, 0);
		dying = 0;
	}
	if (no_scan) {
		errno = ENOTTY;
		return -1;
	}
	return __real_ioctl(fd, request, arg);
}

/* 64 GiB with two pages in it, far from each other and from a 2 MiB border. */
static void finds_two_pages_of_many(void)
{
	size_t size = 64UL << 30, places[] = {size / 3 & ~(PAGE_SIZE - 1), size - PAGE_SIZE};
	struct pgtable_walk walk;
	struct pid_pages pages;
	struct pgtable *table;
	char *memory;

	if (TAP_SANITIZED) {
		skip("a sanitizer's shadow is too large to look through on every kernel");
		return;
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		skip("no address space of 64 GiB");
		return;
	}
	madvise(memory, size, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		memory[places[i]] = 1;
	ok_eq(pgtable_create(&pgtable_x86_64, &table), 0);
	ok_eq(pid_map(getpid(), table, true, &pages), 0);
	ok_eq(pages.nr_wrong, 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		ok(pgtable_walk(table, (u64)memory + places[i], &walk), "page %zu is not found", i);
		ok(!pgtable_walk(table, (u64)memory + places[i] - 1, &walk),
		   "the page before page %zu is found", i);
	}
	pgtable_destroy(table);
	munmap(memory, size);
}

static void two_pages_of_many_are_found(void)
{
	no_scan = false;
	finds_two_pages_of_many();
}

static void they_are_found_where_the_kernel_cannot_search(void)
{
	no_scan = true;
	finds_two_pages_of_many();
	no_scan = false;
}

/* pid_map complains about the process, in these words. */
static void complains_of(pid_t process, const char *words)
{
	char said[256] = "";
	FILE *err = tmpfile();
	int own = dup(STDERR_FILENO), status;
	struct pid_pages pages;
	struct pgtable *table;

	if (!err || own < 0) {
		skip("no file for what is said");
		return;
	}
	ok_eq(pgtable_create(&pgtable_x86_64, &table), 0);
	fflush(stderr);
	dup2(fileno(err), STDERR_FILENO);
	status = pid_map(process, table, false, &pages);
	fflush(stderr);
	dup2(own, STDERR_FILENO);
	close(own);
	rewind(err);
	if (!fgets(said, sizeof(said), err))
		said[0] = '\0';
	fclose(err);
	ok_eq(status, 2);
	ok(strstr(said, words), "said: %s", said);
	pgtable_destroy(table);
}

static void a_process_that_ends_meanwhile_is_said_to(void)
{
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();

		if (!child)
			for (;;)
				pause();
		if (child < 0) {
			skip("no process");
			return;
		}
		no_scan = i;
		dying = child;
		complains_of(child, ": the process ended while it was read\n");
		ok_eq(dying, 0);
	}
	no_scan = false;
}

static void a_zombie_has_no_memory(void)
{
	pid_t child = fork();
	siginfo_t info;

	if (!child)
		_exit(0);
	if (child < 0) {
		skip("no process");
		return;
	}
	ok_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	complains_of(child,
		     ": has no memory of its own: it has ended, or is a thread of the kernel\n");
	waitpid(child, NULL, 0);
}

static void bytes_are_said_in_the_largest_unit(void)
{
	char text[BYTES_TEXT_SIZE];

	ok(!strcmp(bytes_text(256UL << 30, text), "256 GiB"), "%s", text);
	ok(!strcmp(bytes_text(0, text), "0 bytes"), "%s", text);
	ok(!strcmp(bytes_text(4096, text), "4 KiB"), "%s", text);
	ok(!strcmp(bytes_text(1536, text), "1.5 KiB"), "%s", text);
	ok(!strcmp(bytes_text(1UL << 63, text), "8 EiB"), "%s", text);
}

int main(void)
{
	machine = machine_boot(1, 64UL << 20, 0, ZONES_X86_64);
	RUN(ranges_are_read_in_three_forms);
	RUN(no_text_breaks_the_reader_of_ranges);
	RUN(lines_of_maps_are_read);
	RUN(formats_are_found_by_name_and_by_cut);
	RUN(sums_are_what_real_tables_take);
	RUN(a_process_has_larger_pages_wherever_its_mapping_begins);
	RUN(two_pages_of_many_are_found);
	RUN(they_are_found_where_the_kernel_cannot_search);
	RUN(a_process_that_ends_meanwhile_is_said_to);
	RUN(a_zombie_has_no_memory);
	RUN(bytes_are_said_in_the_largest_unit);
	machine_end(machine);
	return done();
}
