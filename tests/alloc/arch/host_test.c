/* SPDX-License-Identifier: MIT */
/* The host contract: address space, memory, shared memory, clocks, and limits read from made-up
 * /proc trees. */
#include "arch/host.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "tests/tap/tap.h"

static sigjmp_buf fault;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(fault, 1);
}

/* Does reading a byte there fault? */
static bool faults(const volatile char *addr)
{
	struct sigaction trap = {.sa_handler = on_fault}, segv, bus;
	bool faulted = true;

	sigaction(SIGSEGV, &trap, &segv);
	sigaction(SIGBUS, &trap, &bus);
	if (!sigsetjmp(fault, 1)) {
		(void)*addr;
		faulted = false;
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return faulted;
}

static bool all_zero(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

static unsigned long nr_mappings(void)
{
	unsigned long lines = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	int c;

	while (f && (c = fgetc(f)) != EOF)
		lines += c == '\n';
	if (f)
		fclose(f);
	return lines;
}

static void reservations_are_aligned_and_inaccessible(void)
{
	for (size_t align = PAGE_SIZE; align <= 1UL << 30; align <<= 6) {
		char *base = host_reserve(16 * PAGE_SIZE, align);

		ok(base != NULL && IS_ALIGNED((uintptr_t)base, align), "%p at %zu", (void *)base,
		   align);
		if (!base)
			continue;
		ok(faults(base) && faults(base + 15 * PAGE_SIZE), "accessible");
		host_release(base, 16 * PAGE_SIZE);
	}
	ok(!host_reserve(1UL << 60, PAGE_SIZE), "more than there is");
	ok(!host_reserve(SIZE_MAX - PAGE_SIZE + 1, 1UL << 30), "an overflow");
}

static void committed_memory_is_zero_and_zero_again(void)
{
	char *base = host_reserve(8 * PAGE_SIZE, PAGE_SIZE);

	for (int huge = 0; huge < 2; huge++) {
		ok_eq(host_commit(base + PAGE_SIZE, 4 * PAGE_SIZE, huge), 0);
		ok(all_zero(base + PAGE_SIZE, 4 * PAGE_SIZE), "zero");
		memset(base + PAGE_SIZE, 0xa5, 4 * PAGE_SIZE);
		ok(faults(base) && faults(base + 5 * PAGE_SIZE), "neighbours stay reserved");
		ok_eq(host_decommit(base + PAGE_SIZE, 4 * PAGE_SIZE), 0);
		ok(faults(base + PAGE_SIZE), "reserved again");
	}
	ok_eq(host_commit(base, 8 * PAGE_SIZE, false), 0);
	ok(all_zero(base, 8 * PAGE_SIZE), "nothing is left of before");
	host_release(base, 8 * PAGE_SIZE);
}

static void resident_is_what_was_touched(void)
{
	const size_t size = 20000 * PAGE_SIZE;
	char *base = host_reserve(size, PAGE_SIZE);

	ok_eq(host_resident_bytes(base, size), 0);
	ok_eq(host_commit(base, size, false), 0);
	ok_eq(host_resident_bytes(base, size), 0);
	for (size_t i = 0; i < 20000; i += 5)
		base[i * PAGE_SIZE] = 1;
	ok_eq(host_resident_bytes(base, size), 4000 * PAGE_SIZE);
	/* Two bytes of two pages, one of which was touched. */
	ok_eq(host_resident_bytes(base + PAGE_SIZE - 1, 2), PAGE_SIZE);
	host_release(base, size);
	ok_eq(host_resident_bytes(base, size), 0);
}

static void shared_memory_is_the_same_at_two_addresses(void)
{
	char *base = host_reserve(64 * PAGE_SIZE, PAGE_SIZE);
	int fd = host_shared_create("kmm-test", 16 * PAGE_SIZE);

	ok(fd >= 0, "fd %d", fd);
	ok(fcntl(fd, F_GETFD) & FD_CLOEXEC, "not for children");
	ok_eq(host_shared_map(base, 16 * PAGE_SIZE, fd, 0, false), 0);
	ok_eq(host_shared_map(base + 32 * PAGE_SIZE, 2 * PAGE_SIZE, fd, 3 * PAGE_SIZE, true), 0);
	ok(all_zero(base, 16 * PAGE_SIZE), "zero");
	strcpy(base + 3 * PAGE_SIZE, "written through the first");
	ok(!strcmp(base + 32 * PAGE_SIZE, "written through the first"), "seen through the second");
	strcpy(base + 33 * PAGE_SIZE, "and back");
	ok(!strcmp(base + 4 * PAGE_SIZE, "and back"), "seen through the first");
	ok(faults(base + 34 * PAGE_SIZE), "behind it is reserved");
	ok_eq(host_shared_unmap(base + 32 * PAGE_SIZE, 2 * PAGE_SIZE), 0);
	ok(faults(base + 32 * PAGE_SIZE), "unmapped");
	ok(!strcmp(base + 4 * PAGE_SIZE, "and back"), "the content stays");
	ok_eq(host_shared_map(base + 40 * PAGE_SIZE, PAGE_SIZE, fd, 4 * PAGE_SIZE, false), 0);
	ok(!strcmp(base + 40 * PAGE_SIZE, "and back"), "at a third place");
	ok_eq(host_shared_map(base + 50 * PAGE_SIZE, PAGE_SIZE, -1, 0, false), -EBADF);
	ok(faults(base + 50 * PAGE_SIZE), "still reserved");
	host_shared_close(fd);
	ok(!strcmp(base + 40 * PAGE_SIZE, "and back"), "mappings outlive the descriptor");
	host_release(base, 64 * PAGE_SIZE);
}

static void release_takes_everything_with_it(void)
{
	unsigned long before = nr_mappings();

	for (int i = 0; i < 20; i++) {
		char *base = host_reserve(64 * PAGE_SIZE, HPAGE_SIZE);
		int fd = host_shared_create("kmm-test", 4 * PAGE_SIZE);

		host_commit(base, PAGE_SIZE, true);
		host_commit(base + 8 * PAGE_SIZE, PAGE_SIZE, false);
		host_shared_map(base + 16 * PAGE_SIZE, PAGE_SIZE, fd, 0, false);
		host_shared_close(fd);
		host_release(base, 64 * PAGE_SIZE);
	}
	/* The C library may have mapped something for its own use. */
	ok(nr_mappings() <= before + 4, "%lu mappings became %lu", before, nr_mappings());
}

static void the_nth_request_can_be_made_to_fail(void)
{
	char *base;
	int fd;

	host_fail_nth(1);
	ok(host_fail_pending(), "armed");
	ok(!host_reserve(PAGE_SIZE, PAGE_SIZE), "the first fails");
	ok(!host_fail_pending(), "once");
	base = host_reserve(4 * PAGE_SIZE, PAGE_SIZE);
	ok(base != NULL, "the second does not");
	host_fail_nth(2);
	ok_eq(host_commit(base, PAGE_SIZE, false), 0);
	ok_eq(host_commit(base, PAGE_SIZE, false), -ENOMEM);
	host_fail_nth(1);
	ok_eq(host_shared_create("kmm-test", PAGE_SIZE), -ENOMEM);
	fd = host_shared_create("kmm-test", PAGE_SIZE);
	host_fail_nth(1);
	ok_eq(host_shared_map(base, PAGE_SIZE, fd, 0, false), -ENOMEM);
	host_fail_nth(5);
	host_fail_nth(0);
	ok(!host_fail_pending(), "disarmed");
	host_shared_close(fd);
	host_release(base, 4 * PAGE_SIZE);
}

static void at_the_limit_of_mappings_a_map_fails_cleanly(void)
{
	unsigned long limit = host_max_mappings(), room = limit + 100, nr = 0;
	char *base;
	int fd, error = 0;

	if (TAP_SANITIZED) {
		skip("a sanitizer needs mappings of its own");
		return;
	}
	if (limit > 200000) {
		skip("vm.max_map_count is %lu", limit);
		return;
	}
	base = host_reserve(room * PAGE_SIZE, PAGE_SIZE);
	fd = host_shared_create("kmm-test", PAGE_SIZE);
	/* The same page again and again cannot merge into one mapping. */
	while (nr < room &&
	       !(error = host_shared_map(base + nr * PAGE_SIZE, PAGE_SIZE, fd, 0, false)))
		nr++;
	ok_eq(error, -ENOMEM);
	ok(faults(base + nr * PAGE_SIZE), "still reserved");
	base[0] = 'x';
	ok(base[(nr - 1) * PAGE_SIZE] == 'x', "what was mapped stays so");
	ok_eq(host_shared_unmap(base + (nr - 1) * PAGE_SIZE, PAGE_SIZE), 0);
	ok(faults(base + (nr - 1) * PAGE_SIZE), "unmapping works at the limit too");
	host_shared_close(fd);
	host_release(base, room * PAGE_SIZE);
}

/* One clock is read around the other, and that around the first: however long a reading is held up. */
static void clocks_advance(void)
{
	double rate = host_cycles_per_second(), seconds;
	u64 outer_ns = host_time_ns(), cycles = host_cycles(), inner_ns = host_time_ns();

	usleep(20000);
	inner_ns = host_time_ns() - inner_ns;
	cycles = host_cycles() - cycles;
	outer_ns = host_time_ns() - outer_ns;
	ok(inner_ns >= 20000000, "%llu ns", (unsigned long long)inner_ns);
	ok(rate > 1e8 && rate < 1e11, "%g cycles a second", rate);
	seconds = (double)cycles / rate;
	/* Far apart only if one of the two is in another unit. */
	ok(seconds > (double)inner_ns * 1e-9 / 2 && seconds < (double)outer_ns * 1e-9 * 2,
	   "%g s, %llu to %llu ns", seconds, (unsigned long long)inner_ns,
	   (unsigned long long)outer_ns);
	ok(host_cycles_per_second() == rate, "measured once");
}

static void the_process_is_resident_on_some_cpu(void)
{
	size_t size = 16UL << 20;
	u64 before = host_rss_bytes();
	char *base = host_reserve(size, PAGE_SIZE);

	ok(before > 100000, "%llu bytes", (unsigned long long)before);
	host_commit(base, size, false);
	memset(base, 1, size);
	ok(host_rss_bytes() >= before + size / 2, "grew by what was touched");
	host_release(base, size);
	ok(host_current_cpu() >= 0, "%d", host_current_cpu());
	ok(host_available_bytes() > 0, "nothing left");
	ok(host_max_mappings() > 100, "%lu", host_max_mappings());
}

/* A tree of files below a temporary root. */
static char root[] = "/tmp/kmm-host-test-XXXXXX";

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	f = fopen(full, "w");
	if (!f || fputs(text, f) < 0 || fclose(f)) {
		printf("Bail out! cannot write %s\n", full);
		exit(1);
	}
}

static void remove_tree(void)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s/proc %s/sys", root, root);
	if (system(command))
		printf("# left behind: %s\n", root);
}

#define MIB (1ULL << 20)

static void available_memory_is_the_hosts_without_a_limit(void)
{
	put("/proc/meminfo", "MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable:    2048 kB\n");
	ok_eq(host_available_in(root), 2 * MIB);
	put("/proc/self/cgroup", "0::/user/one\n");
	put("/sys/fs/cgroup/user/one/memory.max", "max\n");
	put("/sys/fs/cgroup/user/one/memory.current", "4096\n");
	ok_eq(host_available_in(root), 2 * MIB);
	remove_tree();
	ok_eq(host_available_in(root), 0);
}

static void the_lowest_limit_on_the_way_up_counts_in_version_2(void)
{
	put("/proc/meminfo", "MemAvailable: 1048576 kB\n");
	put("/proc/self/cgroup", "0::/a/b\n");
	put("/sys/fs/cgroup/a/b/memory.max", "536870912\n");
	put("/sys/fs/cgroup/a/b/memory.current", "0\n");
	ok_eq(host_available_in(root), 512 * MIB);
	put("/sys/fs/cgroup/a/memory.max", "104857600\n");
	put("/sys/fs/cgroup/a/memory.current", "52428800\n");
	ok_eq(host_available_in(root), 50 * MIB);
	/* Page cache that nobody uses makes way. */
	put("/sys/fs/cgroup/a/memory.stat", "anon 1\nfile 20971520\ninactive_file 10485760\n");
	ok_eq(host_available_in(root), 60 * MIB);
	/* Over the limit already. */
	put("/sys/fs/cgroup/a/b/memory.current", "999999999\n");
	ok_eq(host_available_in(root), 0);
	remove_tree();
}

static void a_containers_limit_at_the_mounts_root_counts_in_version_1(void)
{
	put("/proc/meminfo", "MemAvailable: 1048576 kB\n");
	put("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/host/only/path\n0::/\n");
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "209715200\n");
	put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n");
	put("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 1048576\n");
	ok_eq(host_available_in(root), 101 * MIB);
	/* "No limit" in version 1 is a number that no memory reaches. */
	put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	ok_eq(host_available_in(root), 1024 * MIB);
	remove_tree();
}

static void garbage_in_proc_is_no_limit(void)
{
	put("/proc/meminfo", "MemAvailable: 1024 kB\n");
	put("/proc/self/cgroup", "\n::\n4:memory\nnonsense\n0::no-slash\n");
	put("/sys/fs/cgroup/memory.max", "banana\n");
	ok_eq(host_available_in(root), MIB);
	remove_tree();
}

static void discarded_memory_is_gone_and_zero(void)
{
	char *base = host_reserve(8 * PAGE_SIZE, PAGE_SIZE);

	ok_eq(host_commit(base, 8 * PAGE_SIZE, false), 0);
	memset(base, 0x5a, 8 * PAGE_SIZE);
	ok_eq(host_discard(base + 2 * PAGE_SIZE, 3 * PAGE_SIZE), 0);
	ok_eq(host_resident_bytes(base, 8 * PAGE_SIZE), 5 * PAGE_SIZE);
	ok(base[2 * PAGE_SIZE - 1] == 0x5a && base[5 * PAGE_SIZE] == 0x5a, "the rest has gone too");
	ok(!base[2 * PAGE_SIZE] && !base[5 * PAGE_SIZE - 1], "not zero");
	base[3 * PAGE_SIZE] = 1;
	ok_eq(base[3 * PAGE_SIZE], 1);
	host_release(base, 8 * PAGE_SIZE);
}

static void discarded_shared_memory_is_gone_everywhere(void)
{
	char *base = host_reserve(8 * PAGE_SIZE, PAGE_SIZE);
	/* The same bytes at two addresses, which the compiler does not know. */
	volatile char *bytes = base;
	int fd = host_shared_create("test", 4 * PAGE_SIZE);

	ok_eq(host_shared_map(base, 4 * PAGE_SIZE, fd, 0, false), 0);
	ok_eq(host_shared_map(base + 4 * PAGE_SIZE, 4 * PAGE_SIZE, fd, 0, false), 0);
	memset(base, 0x5a, 4 * PAGE_SIZE);
	ok_eq(host_shared_discard(fd, PAGE_SIZE, 2 * PAGE_SIZE), 0);
	for (int i = 0; i < 8; i++)
		ok_eq(bytes[i * PAGE_SIZE], i % 4 == 0 || i % 4 == 3 ? 0x5a : 0);
	bytes[5 * PAGE_SIZE] = 7;
	ok_eq(bytes[PAGE_SIZE], 7);
	ok(host_shared_discard(fd, 0, 0) < 0 && host_shared_discard(-1, 0, PAGE_SIZE) == -EBADF,
	   "no error");
	host_shared_close(fd);
	host_release(base, 8 * PAGE_SIZE);
}

int main(void)
{
	if (!mkdtemp(root)) {
		printf("Bail out! cannot make %s\n", root);
		return 1;
	}
	RUN(reservations_are_aligned_and_inaccessible);
	RUN(committed_memory_is_zero_and_zero_again);
	RUN(resident_is_what_was_touched);
	RUN(shared_memory_is_the_same_at_two_addresses);
	RUN(discarded_memory_is_gone_and_zero);
	RUN(discarded_shared_memory_is_gone_everywhere);
	RUN(release_takes_everything_with_it);
	RUN(the_nth_request_can_be_made_to_fail);
	RUN(at_the_limit_of_mappings_a_map_fails_cleanly);
	RUN(clocks_advance);
	RUN(the_process_is_resident_on_some_cpu);
	RUN(available_memory_is_the_hosts_without_a_limit);
	RUN(the_lowest_limit_on_the_way_up_counts_in_version_2);
	RUN(a_containers_limit_at_the_mounts_root_counts_in_version_1);
	RUN(garbage_in_proc_is_no_limit);
	rmdir(root);
	return done();
}
