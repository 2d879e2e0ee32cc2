/* SPDX-License-Identifier: MIT */
/*
 * The tables of a live process: every page that /proc/PID/pagemap shows present in the mappings of
 * /proc/PID/maps is mapped to its frame, and each translation walked and compared with what pagemap
 * said. The process runs on meanwhile, so a second look says how much of it has changed since.
 *
 * A mapping may be of many TiB with next to nothing in it (a sanitizer's shadow). Where the kernel can
 * name the runs of pages that are there (PAGEMAP_SCAN, Linux 6.7), only those are read; else all of
 * pagemap is, and pieces of it that show nothing are passed over in one step.
 *
 * Without CAP_SYS_ADMIN the kernel shows 0 for every frame; then pages are mapped to frames of their
 * own numbers, and what is compared is which are there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/commands/pagetable.h"

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT	 (1UL << 63)
#define PAGEMAP_SWAPPED	 (1UL << 62)
#define PAGEMAP_PFN_MASK ((1UL << 55) - 1)

#define CHUNK 512 /* pages looked at at once; as many as a larger page has, and aligned as it is */
#define READ  (128 * CHUNK) /* pages read at once */

/* The request to search pagemap, which older headers lack: those of the pages from start to end that
 * have any of the categories, in runs; walk_end is where it stopped because vec was full. */
struct scan_run {
	u64 start, end, categories;
};
struct scan_request {
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	u64 category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_REQUEST _IOWR('f', 16, struct scan_request)
#define SCAN_PRESENT (1UL << 3)
#define SCAN_SWAPPED (1UL << 4)
#define SCAN_RUNS    256

struct look {
	struct pgtable *table;
	int pagemap; /* file descriptor */
	bool huge, again;
	bool no_scan; /* the kernel cannot */
	struct pid_pages *pages;
	struct scan_run runs[SCAN_RUNS];
	u64 entries[READ], va[CHUNK];
	struct pgtable_walk walks[CHUNK];
};

int maps_line_parse(const char *line, struct va_range *range, u64 *prot)
{
	char *end;
	u64 start, behind;

	if (!((line[0] >= '0' && line[0] <= '9') || (line[0] >= 'a' && line[0] <= 'f')))
		return -EINVAL;
	errno = 0;
	start = strtoull(line, &end, 16);
	if (errno || *end != '-')
		return -EINVAL;
	behind = strtoull(end + 1, &end, 16);
	if (errno || *end != ' ' || behind <= start || (start | behind) & (PAGE_SIZE - 1) ||
	    strspn(end + 1, "rwxps-") < 4)
		return -EINVAL;
	*prot = PTE_USER | (end[2] == 'w' ? PTE_WRITE : 0) | (end[3] == 'x' ? 0 : PTE_NX);
	*range = (struct va_range){start, behind - 1, NULL};
	return 0;
}

/* The frame that the tables are to have for a present page. */
static u64 frame_of(const struct look *look, u64 va, u64 entry)
{
	u64 pfn = entry & PAGEMAP_PFN_MASK;

	return look->pages->frames_shown ? pfn : va >> PAGE_SHIFT;
}

/* Runs of frames that follow each other, each in one piece. */
static int map_chunk(struct look *look, const u64 *entries, u64 va, unsigned int nr, u64 prot)
{
	for (unsigned int i = 0; i < nr;) {
		u64 first = va + (u64)i * PAGE_SIZE;
		u64 pfn = frame_of(look, first, entries[i]), run = 0;
		int error;

		for (; i < nr && (entries[i] & PAGEMAP_PRESENT) &&
		       frame_of(look, va + (u64)i * PAGE_SIZE, entries[i]) == pfn + run;
		     i++)
			run++;
		if (!run) {
			i++;
			continue;
		}
		error = pgtable_map(look->table, first, pfn, run, prot, look->huge);
		if (error)
			return error;
	}
	return 0;
}

/* How many of the chunk's pages the tables have otherwise than entries. */
static u64 differing(struct look *look, const u64 *entries, u64 va, unsigned int nr)
{
	u64 nr_different = 0;

	for (unsigned int i = 0; i < nr; i++)
		look->va[i] = va + (u64)i * PAGE_SIZE;
	pgtable_walk_batch(look->table, look->va, nr, look->walks);
	for (unsigned int i = 0; i < nr; i++) {
		bool present = entries[i] & PAGEMAP_PRESENT;

		nr_different +=
			look->walks[i].present != present ||
			(present && look->walks[i].pfn != frame_of(look, look->va[i], entries[i]));
	}
	return nr_different;
}

static int count_leaf(const struct pgtable_entry *entry, void *arg)
{
	if (entry->leaf)
		*(u64 *)arg += entry->nr_pages;
	return 0;
}

/* The kernel has nothing from va to behind. What the tables have there has gone since. */
static void look_at_gap(struct look *look, u64 va, u64 behind)
{
	if (look->again && va < behind)
		pgtable_walk_range(look->table, va, (behind - va) >> PAGE_SHIFT, count_leaf,
				   &look->pages->nr_changed);
}

static bool shows_nothing(const u64 *entries, unsigned int nr)
{
	u64 any = 0;

	for (unsigned int i = 0; i < nr; i++)
		any |= entries[i];
	return !(any & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED));
}

static int look_at_chunk(struct look *look, const u64 *entries, u64 va, unsigned int nr, u64 prot)
{
	struct pid_pages *pages = look->pages;
	int error;

	if (shows_nothing(entries, nr)) {
		look_at_gap(look, va, va + (u64)nr * PAGE_SIZE);
		return 0;
	}
	if (look->again) {
		pages->nr_changed += differing(look, entries, va, nr);
		return 0;
	}
	for (unsigned int i = 0; i < nr; i++) {
		pages->nr_present += entries[i] >> 63;
		pages->nr_swapped += entries[i] >> 62 & 1;
	}
	error = map_chunk(look, entries, va, nr, prot);
	if (!error)
		pages->nr_wrong += differing(look, entries, va, nr);
	return error;
}

/* A mapping that has gone has nothing present. Where there is nothing to read at all, the process has
 * ended: -ESRCH. */
static int read_entries(struct look *look, u64 va, u64 nr)
{
	ssize_t got = pread(look->pagemap, look->entries, nr * sizeof(u64),
			    (off_t)((va >> PAGE_SHIFT) * sizeof(u64)));
	size_t nr_got;

	if (got <= 0)
		return got < 0 ? -errno : -ESRCH;
	nr_got = (size_t)got / sizeof(u64);
	memset(look->entries + nr_got, 0, (nr - nr_got) * sizeof(u64));
	return 0;
}

static int look_at_run(struct look *look, u64 va, u64 behind, u64 prot)
{
	u64 read_to = va, nr;
	int error = 0;

	for (const u64 *entries = look->entries; va < behind && !error; va += nr * PAGE_SIZE) {
		if (va == read_to) {
			nr = min_t(u64, (behind - va) >> PAGE_SHIFT,
				   READ - (va >> PAGE_SHIFT) % READ);
			error = read_entries(look, va, nr);
			if (error)
				break;
			entries = look->entries;
			read_to = va + nr * PAGE_SIZE;
		}
		nr = min_t(u64, (read_to - va) >> PAGE_SHIFT, CHUNK - (va >> PAGE_SHIFT) % CHUNK);
		error = look_at_chunk(look, entries, va, (unsigned int)nr, prot);
		entries += nr;
	}
	return error;
}

/* The next runs of pages that may be there, from *va on, which moves to where the search ended. */
static size_t find_runs(struct look *look, u64 *va, u64 behind)
{
	struct scan_request request = {
		.size = sizeof(request),
		.start = *va,
		.end = behind,
		.vec = (u64)look->runs,
		.vec_len = SCAN_RUNS,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_PRESENT | SCAN_SWAPPED,
	};
	int nr = look->no_scan ? -1 : ioctl(look->pagemap, SCAN_REQUEST, &request);

	if (nr < 0 || request.walk_end <= *va || request.walk_end > behind) {
		look->no_scan = true;
		look->runs[0] = (struct scan_run){.start = *va, .end = behind};
		request.walk_end = behind;
		nr = 1;
	}
	*va = request.walk_end;
	return (size_t)nr;
}

static int look_at_range(struct look *look, const struct va_range *range, u64 prot)
{
	u64 va = range->start, behind = range->last + 1, next = va;
	int error = 0;

	/* What lies above (vsyscall) is the kernel's. */
	if (!format_has_range(look->table->format, range) || range->start >> 63)
		return 0;
	while (va < behind && !error) {
		size_t nr_runs = find_runs(look, &next, behind);

		for (size_t i = 0; i < nr_runs && !error; i++) {
			look_at_gap(look, va, look->runs[i].start);
			va = look->runs[i].end;
			error = look_at_run(look, look->runs[i].start, va, prot);
		}
		look_at_gap(look, va, next);
		va = next;
	}
	return error;
}

static int look_at_maps(struct look *look, FILE *maps)
{
	struct va_range range = {0};
	char *line = NULL;
	size_t room = 0;
	u64 prot, next = 0;
	int error = 0;

	rewind(maps);
	if (!look->again)
		look->pages->nr_mappings = 0;
	while (!error && getline(&line, &room, maps) > 0) {
		error = maps_line_parse(line, &range, &prot);
		/* The kernel makes the text piece by piece, and a mapping may have grown to both
		 * sides since the last. */
		range.start = max_t(u64, range.start, next);
		if (!error && range.start < range.last)
			error = look_at_range(look, &range, prot);
		next = range.last + 1;
		if (!look->again)
			look->pages->nr_mappings++;
	}
	free(line);
	return error;
}

/* Does the kernel show frames? Of our own stack it shows the page as present in any case. */
static bool frames_shown(void)
{
	int own = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	u64 entry = 0;
	bool shown;

	shown = own >= 0 &&
		pread(own, &entry, sizeof(entry),
		      (off_t)(((u64)&entry >> PAGE_SHIFT) * sizeof(entry))) == sizeof(entry) &&
		(entry & PAGEMAP_PFN_MASK);
	if (own >= 0)
		close(own);
	return shown;
}

/* 0, or -ESRCH: who has ended, or is of the kernel, has no such line. */
static int kernel_vm_pte(long pid, u64 *bytes)
{
	unsigned long long kb = 0;
	char path[64], line[256];
	bool found = false;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%ld/status", pid);
	status = fopen(path, "re");
	while (status && !found && fgets(line, sizeof(line), status))
		found = sscanf(line, "VmPTE: %llu kB", &kb) == 1;
	if (status)
		fclose(status);
	*bytes = (u64)kb << 10;
	return found ? 0 : -ESRCH;
}

/* Both looks. -ESRCH if the process ended before they were over: what is read of it then looks as if it
 * had nothing, not as an error, so it is asked at the end whether it still has addresses. */
static int look_twice(struct look *look, long pid, FILE *maps)
{
	struct pid_pages *pages = look->pages;
	u64 nr_mappings, entry;
	int error = look_at_maps(look, maps);

	nr_mappings = pages->nr_mappings;
	if (!error && nr_mappings)
		error = kernel_vm_pte(pid, &pages->vm_pte_bytes);
	look->again = true;
	if (!error && nr_mappings)
		error = look_at_maps(look, maps);
	if (nr_mappings && !pread(look->pagemap, &entry, sizeof(entry), 0))
		error = -ESRCH;
	return error;
}

/* EXIT_BAD_INPUT, after a line. */
static int complain_of(long pid, const char *path, const struct pid_pages *pages, int error)
{
	if (pages->nr_mappings && error == -ESRCH)
		return complain("--pid: %ld: the process ended while it was read", pid);
	if (!error || error == -ESRCH)
		return complain(
			"--pid: %ld: has no memory of its own: it has ended, or is a thread "
			"of the kernel",
			pid);
	return complain("%s: %s", path, strerror(-error));
}

int pid_map(long pid, struct pgtable *table, bool huge, struct pid_pages *pages)
{
	struct look *look = calloc(1, sizeof(*look));
	char path[64];
	FILE *maps;
	int error;

	*pages = (struct pid_pages){.frames_shown = frames_shown()};
	if (!look)
		return complain("no memory");
	snprintf(path, sizeof(path), "/proc/%ld/maps", pid);
	maps = fopen(path, "re");
	if (!maps) {
		error = -errno;
		free(look);
		return complain_of(pid, path, pages, error);
	}
	snprintf(path, sizeof(path), "/proc/%ld/pagemap", pid);
	*look = (struct look){.table = table, .huge = huge, .pages = pages};
	look->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	error = look->pagemap < 0 ? -errno : look_twice(look, pid, maps);
	if (look->pagemap >= 0)
		close(look->pagemap);
	fclose(maps);
	free(look);
	return error || !pages->nr_mappings ? complain_of(pid, path, pages, error) : EXIT_OK;
}
