/* SPDX-License-Identifier: MIT */
/* What kmm tlb --probe says, and the preset that it writes: see probe.h. */
#define _GNU_SOURCE /* mkostemp */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/probe/probe.h"
#include "virt/tlb_file.h"

/* The machine is not quiet: less of a CPU's time than that, or more to do (it itself is 1). */
#define BUSY_SHARE 0.95
#define BUSY_LOAD  1.8

static bool is_busy(const struct probe *probe)
{
	return probe->cpu_share < BUSY_SHARE || probe->load > BUSY_LOAD;
}

/*
 * What is said.
 */
static void print_array(const struct tlb_geometry *array, bool seen, const char *what)
{
	if (!seen) {
		printf("  %-22s not seen\n", what);
		return;
	}
	printf("  %-22s %u entries", what, array->entries);
	if (array->ways)
		printf(", %u ways", array->ways);
	else
		fputs(", fully associative", stdout);
	if (array->hash)
		fputs(", hashed", stdout);
	puts(array->replacement == TLB_PLRU ? ", pseudo-LRU" : "");
}

static void print_found(const struct probe *probe)
{
	const struct probe_fit *fit = &probe->fit;

	printf("%s%s", probe->processor, probe->virtual ? " (virtual)" : "");
	if (probe->cpu >= 0)
		printf(", CPU %d", probe->cpu);
	printf(": %d chains of pointers in twice %llu MiB, %d times each\n", probe->points.nr,
	       (unsigned long long)(probe->points.nr_pages * PROBE_PAGE >> 20), probe->reps);
	print_array(&fit->config.arrays[0][0], fit->saw_l1, "L1, 4 KiB pages");
	print_array(&fit->config.arrays[0][1], fit->saw_large, "L1, 2 MiB pages");
	print_array(&fit->config.arrays[1][0], fit->saw_l2, "L2");
	print_array(&fit->config.caches[0], fit->saw_l2, "walk cache, level 2");
	if (fit->saw_l1)
		printf("  %-22s %.1f cycles\n", "hit in L2", fit->l2_cycles);
	if (fit->saw_l2)
		printf("  %-22s %.1f cycles, and %.1f for each entry read\n", "walk",
		       fit->walk_cycles, fit->ref_cycles);
	if (fit->saw_lines)
		printf("  %-22s %.1f cycles more, beyond %u lines of tables\n", "far entry",
		       fit->far_cycles, fit->config.lines.entries);
	printf("  %-22s %.1f %%\n", "error of the fit", 100 * fit->error);
}

static void print_unseen(const struct probe *probe)
{
	const struct probe_fit *fit = &probe->fit;

	puts("Not to be seen:");
	if (!probe->points.huge)
		printf("  2 MiB pages: smaps has %llu of %llu MiB in them (transparent huge pages "
		       "are off, or memory is in pieces)\n",
		       (unsigned long long)(probe->memory.huge_bytes >> 20),
		       (unsigned long long)(probe->points.nr_pages * PROBE_PAGE >> 20));
	else if (!fit->saw_large)
		puts("  an end of L1 for 2 MiB pages");
	if (is_busy(probe))
		printf("  a quiet machine: it had %.0f %% of a CPU's time, the load average was "
		       "%.1f. "
		       "Other work makes\n  TLBs seem smaller and walks dearer; measure again "
		       "without it\n",
		       100 * fmin(probe->cpu_share, 1), probe->load);
	if (probe->cpu < 0)
		puts("  one CPU alone: the host does not let it stay on one");
	if (probe->memory.small_bad_bytes)
		puts("  4 KiB pages alone: the host made huge ones of some");
	if (!fit->saw_l1)
		puts("  a step from L1 to L2: nothing could be fitted");
	else if (!fit->saw_l2)
		puts("  a step from L2 to walks: there is no L2, or it reaches over all of the "
		     "memory");
	if (probe->virtual)
		puts("  the processor alone: it is virtual, walks are nested, and each of their "
		     "references stands\n  for the host's as well");
	puts("  stores, instructions, 1 GiB pages, global entries: taken as loads are, or as "
	     "usual");
	if (fit->saw_large)
		puts("  how well 2 MiB pages are predicted: the patterns below are in pages of 4 "
		     "KiB");
}

static void print_checks(const struct probe *probe)
{
	double sum = 0, off = 0, translation = 0;

	if (!probe->nr_checks)
		return;
	printf("%-32s %9s %9s %9s %7s\n", "patterns not fitted to, cycles", "measured", "modelled",
	       "of it TLB", "error");
	for (int i = 0; i < probe->nr_checks; i++) {
		const struct probe_check *check = &probe->checks[i];
		double error = probe_check_error(check);

		sum += error;
		off += fabs(check->modelled - (check->measured - check->packed));
		translation += fabs(check->measured - check->packed);
		printf("%-32s %9.1f %9.1f %9.1f %5.1f %%\n", check->name, check->measured,
		       check->packed + check->modelled, check->modelled, 100 * error);
	}
	printf("mean error %.1f %% over all %d; %.1f of the %.1f cycles that translation takes\n",
	       100 * sum / probe->nr_checks, probe->nr_checks, off / probe->nr_checks,
	       translation / probe->nr_checks);
}

/*
 * The preset.
 */
static void write_sources(const struct probe *probe, char *sources, size_t size)
{
	const struct probe_fit *fit = &probe->fit;
	char date[32] = "";
	time_t now = time(NULL);
	struct tm tm;

	strftime(date, sizeof(date), "%Y-%m-%d", gmtime_r(&now, &tm));
	snprintf(sources, size,
		 "kmm tlb --probe, %s: %d chains, %d repetitions, error of the fit %.1f %%%s%s\n"
		 "assumed: L1-1G, PDPTE, PML4E, PML5E, PCIDs, global pages, stores and fetches as "
		 "loads%s%s",
		 date, probe->points.nr, probe->reps, 100 * fit->error,
		 probe->virtual ? ", in a virtual machine" : "",
		 is_busy(probe) ? ", beside other work" : "",
		 fit->saw_large ? "" : "\nnot seen: L1-2M, given a size that does not show",
		 fit->saw_l2 ? "" : "\nnot seen: L2 and walks, given a size that does not show");
}

/* A pipe or a device: written to as it is, nothing takes its place. */
static bool is_special(const char *path)
{
	struct stat status;

	return !stat(path, &status) && !S_ISREG(status.st_mode);
}

/* What a path that is_special has against it. 0 or -errno; without opening it, for a pipe's reader would
 * take that for all that comes. */
static int check_special(const char *path)
{
	struct stat status;

	if (stat(path, &status))
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	if (S_ISSOCK(status.st_mode))
		return -ENXIO;
	return access(path, W_OK) ? -errno : 0;
}

/* A new file beside path, of a name that nobody has, to be renamed to it. -errno if there can be none. */
static int open_part(const char *path, char *part, size_t size)
{
	mode_t mask = umask(0);
	int fd;

	umask(mask);
	if ((size_t)snprintf(part, size, "%s.XXXXXX", path) >= size)
		return -ENAMETOOLONG;
	fd = mkostemp(part, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	fchmod(fd, 0666 & ~mask);
	return fd;
}

/* Write the preset to fd, and close it. 0 or -errno. */
static int write_and_close(const struct tlb_preset *preset, int fd)
{
	FILE *out = fdopen(fd, "w");
	int error;

	if (!out) {
		error = -errno;
		close(fd);
		return error;
	}
	error = tlb_file_write(preset, out);
	if (fclose(out) && !error)
		error = -errno;
	return error;
}

static int write_special(const struct tlb_preset *preset, const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : write_and_close(preset, fd);
}

static int write_regular(const struct tlb_preset *preset, const char *path)
{
	char part[PATH_MAX];
	int fd = open_part(path, part, sizeof(part)), error;

	if (fd < 0)
		return fd;
	error = write_and_close(preset, fd);
	if (!error && rename(part, path))
		error = -errno;
	if (error)
		unlink(part);
	return error;
}

/* Who stops it meanwhile finds the old file or the new one, and no part. */
static void block_stops(sigset_t *were)
{
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGHUP);
	sigprocmask(SIG_BLOCK, &stops, were);
}

int probe_check_path(const char *path)
{
	char part[PATH_MAX];
	sigset_t were;
	int error = 0, fd;

	if (is_special(path)) {
		error = check_special(path);
	} else {
		block_stops(&were);
		fd = open_part(path, part, sizeof(part));
		if (fd < 0) {
			error = fd;
		} else {
			close(fd);
			unlink(part);
		}
		sigprocmask(SIG_SETMASK, &were, NULL);
	}
	return error ? complain("%.300s: %s", path, strerror(-error)) : EXIT_OK;
}

static int write_preset(const struct probe *probe, const char *path, const char *name)
{
	struct tlb_preset preset = {.name = name,
				    .processor = probe->processor,
				    .max_levels = 5,
				    .config = probe->fit.config};
	char sources[512];
	sigset_t were;
	int error;

	write_sources(probe, sources, sizeof(sources));
	preset.sources = sources;
	if (is_special(path)) {
		error = write_special(&preset, path);
	} else {
		block_stops(&were);
		error = write_regular(&preset, path);
		sigprocmask(SIG_SETMASK, &were, NULL);
	}
	return error ? complain("%.300s: %s", path, strerror(-error)) : EXIT_OK;
}

int probe_report(const struct probe *probe, const char *path, const char *name)
{
	int status = EXIT_OK;

	print_found(probe);
	print_unseen(probe);
	if (!probe->fit.saw_l1) {
		if (path)
			printf("%s is not written\n", path);
		return EXIT_FAILED;
	}
	print_checks(probe);
	if (path)
		status = write_preset(probe, path, name);
	if (path && !status)
		printf("%s: kmm tlb --preset takes it\n", path);
	return status;
}
