/* SPDX-License-Identifier: MIT */
/* kmm record: a command's malloc calls, or what the kernel allocates meanwhile, as .kmt traces. */
#include <cpuid.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/host.h"
#include "base/compiler.h"
#include "bench/command.h"
#include "bench/commands/record.h"
#include "bench/options/options.h"
#include "workloads/record/merge.h"
#include "workloads/record/raw.h"

#define LIBRARY "libkmm-record.so"

enum { OPTION_KERNEL = 1, OPTION_CLOCK, OPTION_QUIET, OPTION_HELP };

static const struct option long_options[] = {
	{"output", required_argument, NULL, 'o'},
	{"kernel", no_argument, NULL, OPTION_KERNEL},
	{"all-cpus", no_argument, NULL, 'a'},
	{"clock", required_argument, NULL, OPTION_CLOCK},
	{"quiet", no_argument, NULL, OPTION_QUIET},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

static int help(void)
{
	fputs("Usage: kmm record [OPTION]... [--] COMMAND [ARGUMENT]...\n"
	      "Run COMMAND and record each of its calls of malloc's family, and those of the "
	      "processes\n"
	      "that it starts, as .kmt traces: one for each process. The exit status is "
	      "COMMAND's.\n\n"
	      "  -o, --output OUT    the trace (default: COMMAND's name and .kmt); other "
	      "processes\n"
	      "                      go beside it, with their number in the name: OUT.PID.kmt\n"
	      "      --kernel        what the kernel allocates for COMMAND instead, by perf\n"
	      "  -a, --all-cpus      with --kernel: for whatever runs meanwhile\n"
	      "      --clock CLOCK   tsc or monotonic (default: tsc where the host trusts it)\n"
	      "      --quiet         print no line for each trace\n",
	      stdout);
	return EXIT_OK;
}

/* --- what can be recorded --- */

static int find_program(const char *name, char *path, size_t size)
{
	const char *folders = getenv("PATH");

	if (strchr(name, '/') || !folders)
		return (size_t)snprintf(path, size, "%s", name) < size ? 0 : -ENAMETOOLONG;
	for (;; folders++) {
		size_t length = strcspn(folders, ":");
		const char *folder = length ? folders : "."; /* an empty one is where we are */

		if ((size_t)snprintf(path, size, "%.*s/%s", length ? (int)length : 1, folder,
				     name) < size &&
		    !access(path, X_OK))
			return 0;
		folders += length;
		if (!*folders)
			return -ENOENT;
	}
}

/* A program that no library can be put before, and why; NULL for all others. */
static const char *not_recordable(int fd)
{
	Elf64_Ehdr elf;
	Elf64_Phdr segment;
	struct stat status;

	if (pread(fd, &elf, sizeof(elf), 0) != sizeof(elf) || memcmp(elf.e_ident, ELFMAG, SELFMAG))
		return NULL;
	if (elf.e_ident[EI_CLASS] != ELFCLASS64)
		return "is a 32-bit program, and the library that records has 64";
	if (!fstat(fd, &status) && (((status.st_mode & S_ISUID) && status.st_uid != geteuid()) ||
				    ((status.st_mode & S_ISGID) && status.st_gid != getegid())))
		return "runs with another user's rights, and the loader then takes no library";
	for (int i = 0; i < elf.e_phnum; i++) {
		off_t at = (off_t)elf.e_phoff + (off_t)i * (off_t)sizeof(segment);

		if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
			return NULL;
		if (segment.p_type == PT_INTERP)
			return NULL;
	}
	return "is linked statically: its malloc cannot be replaced";
}

static int check_program(const char *name)
{
	char path[PATH_MAX];
	const char *why;
	int error = find_program(name, path, sizeof(path));
	int fd = error ? -1 : open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (error)
		return complain("%s: %s", name, strerror(-error));
	if (fd < 0) /* one may run what one may not read */
		return access(path, X_OK) ? complain("%s: %s", name, strerror(errno)) : EXIT_OK;
	why = not_recordable(fd);
	close(fd);
	return why ? complain("%s: %s", name, why) : EXIT_OK;
}

/* Told by the environment, beside this program where it was built, or installed. */
static int find_library(char *path, size_t size)
{
	const char *told = getenv("KMM_RECORD_LIBRARY");
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[length > 0 ? length : 0] = '\0';
	slash = strrchr(self, '/');
	if (told)
		snprintf(path, size, "%s", told);
	else if (!slash || !strncmp(self, KMM_BINDIR "/", strlen(KMM_BINDIR "/")))
		snprintf(path, size, "%s/" LIBRARY, KMM_PKGLIBDIR);
	else
		snprintf(path, size, "%.*s/.libs/" LIBRARY, (int)(slash - self), self);
	if (access(path, R_OK))
		return complain("%s: %s (kmm was built without it?)", path, strerror(errno));
	if (strpbrk(path, ": "))
		return complain(
			"%s: the loader takes no library with a space or a colon in its path",
			path);
	return EXIT_OK;
}

/* May times of the TSC on different CPUs be compared? The kernel knows. */
static bool tsc_is_sound(void)
{
	/* Not kvm-clock: the kernel takes that where the host's TSC is not to be trusted. */
	static const char *const sound[] = {"tsc", "hyperv_clocksource_tsc_page"};
	unsigned int a, b, c, d;
	char source[64] = "";
	FILE *f;

	if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(d & 1U << 27)) /* rdtscp */
		return false;
	if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || !(d & 1U << 8)) /* a constant rate */
		return false;
	f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
	if (!f)
		return false;
	if (fgets(source, sizeof(source), f))
		source[strcspn(source, "\n")] = '\0';
	fclose(f);
	for (size_t i = 0; i < ARRAY_SIZE(sound); i++)
		if (!strcmp(source, sound[i]))
			return true;
	return false;
}

/* What the library reads: clock, its rate, where to; and the loader's order. */
static int set_environment(const struct record_options *options, const char *folder)
{
	bool tsc = !options->monotonic && tsc_is_sound();
	char library[PATH_MAX], absolute[PATH_MAX], value[2 * PATH_MAX];
	const char *before = getenv("LD_PRELOAD");
	int status = find_library(library, sizeof(library));

	if (status)
		return status;
	if (!realpath(folder, absolute))
		return complain("%s: %s", folder, strerror(errno));
	snprintf(value, sizeof(value), "%s:%.0f:%s", tsc ? "tsc" : "ns",
		 tsc ? host_cycles_per_second() : 1e9, absolute);
	setenv("KMM_RECORD", value, 1);
	if (!realpath(library, absolute))
		return complain("%s: %s", library, strerror(errno));
	if (before && *before)
		snprintf(value, sizeof(value), "%s:%.4000s", absolute, before);
	else
		snprintf(value, sizeof(value), "%s", absolute);
	setenv("LD_PRELOAD", value, 1);
	return EXIT_OK;
}

/* The page that the recorded processes count their losses in. NULL after a line. */
static struct raw_notice *make_notice(const char *folder)
{
	static const char zeros[PAGE_SIZE];
	char path[PATH_MAX];
	void *notice = MAP_FAILED;
	int fd;

	snprintf(path, sizeof(path), "%s/" RAW_NOTICE, folder);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, zeros, sizeof(zeros)) == sizeof(zeros))
		notice = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (notice == MAP_FAILED)
		complain("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return notice == MAP_FAILED ? NULL : notice;
}

static void remove_notice(struct raw_notice *notice, const char *folder)
{
	char path[PATH_MAX];

	if (notice)
		munmap(notice, PAGE_SIZE);
	snprintf(path, sizeof(path), "%s/" RAW_NOTICE, folder);
	unlink(path);
}

/* --- what was recorded --- */

/* "out.kmt" -> "out.PID.kmt", "out.PID.2.kmt" */
static void name_trace(const char *out, const struct record_process *process, bool first,
		       char *name, size_t size)
{
	size_t length = strlen(out);
	const char *ending = length > 4 && !strcmp(out + length - 4, ".kmt") ? ".kmt" : "";
	int stem = (int)(length - strlen(ending));

	if (first)
		snprintf(name, size, "%s", out);
	else if (!process->image)
		snprintf(name, size, "%.*s.%d%s", stem, out, process->pid, ending);
	else
		snprintf(name, size, "%.*s.%d.%u%s", stem, out, process->pid, process->image + 1,
			 ending);
}

struct recorded {
	const struct record_options *options;
	const char *folder;
	pid_t pid; /* of the command */
	int nr_traces;
};

/* What the recorder itself says that it has not. */
static int say_lost(const struct record_process *process, const char *where)
{
	if (!process->lost)
		return EXIT_OK;
	return complain("%s: no room on the disk: %llu calls of process %d are not recorded", where,
			(unsigned long long)process->lost, process->pid);
}

static int say_unrecorded(const struct raw_notice *notice, const char *out)
{
	if (!notice->lost_processes)
		return EXIT_OK;
	return complain(
		"%s: %llu processes could not be recorded, %llu calls: no room, or no right "
		"to write there",
		out, (unsigned long long)notice->lost_processes,
		(unsigned long long)notice->lost_calls);
}

/* One process's raw file: into a trace, and away. */
static int merge_file(struct recorded *r, const char *file)
{
	char path[PATH_MAX], out[PATH_MAX], error[KMT_ERROR_SIZE];
	struct record_process process = {0};
	int fd, result;

	snprintf(path, sizeof(path), "%s/%s", r->folder, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return complain("%s: %s", path, strerror(errno));
	result = record_describe(fd, path, &process, error);
	if (!result) {
		name_trace(r->options->out, &process, process.pid == r->pid && !process.image, out,
			   sizeof(out));
		result = record_merge(fd, path, out, record_stop(), &process, error);
	}
	close(fd);
	if (result == -EINTR) {
		unlink(path);
		return complain("%s: interrupted, and not written", out);
	}
	if (result && result != -ENODATA)
		return complain("%s", error);
	unlink(path);
	if (result)
		return say_lost(&process, r->options->out);
	r->nr_traces++;
	if (!r->options->quiet)
		fprintf(stderr, "%s: %llu events of process %d: %s\n", out,
			(unsigned long long)kmt_counts_events(&process.counts), process.pid,
			process.command);
	return say_lost(&process, out);
}

/* By process, and by what each ran first. */
static int by_number(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int drop_file(const struct recorded *r, const char *file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", r->folder, file);
	unlink(path);
	return EXIT_OK;
}

static int merge_files(struct recorded *r)
{
	struct dirent **files;
	int status = EXIT_OK, nr = scandir(r->folder, &files, no_dots, by_number);

	if (nr < 0)
		return complain("%s: %s", r->folder, strerror(errno));
	for (int i = 0; i < nr; i++) {
		/* One line is enough for what an interrupt leaves unwritten. */
		int one = *record_stop() ? drop_file(r, files[i]->d_name)
					 : merge_file(r, files[i]->d_name);

		status = status ? status : one;
		free(files[i]);
	}
	free(files);
	return status;
}

static int run_and_merge(struct recorded *r, struct raw_notice *notice, int *wait_status)
{
	const struct record_options *options = r->options;
	int status = set_environment(options, r->folder);

	if (!status)
		status = record_run(options->command, &notice->tick, wait_status, &r->pid);
	if (status) {
		*wait_status = 0;
		return status;
	}
	unsetenv("LD_PRELOAD");
	status = merge_files(r);
	if (!status)
		status = say_unrecorded(notice, options->out);
	if (!status && !r->nr_traces && !*record_stop())
		status = complain(
			"%s: nothing was recorded: it does not call the C library's malloc",
			options->command[0]);
	return status;
}

static int record_program(const struct record_options *options)
{
	struct recorded recorded = {.options = options};
	struct record_folder folder = {0};
	struct raw_notice *notice;
	int wait_status = 0, status = check_program(options->command[0]);

	if (!status)
		status = record_folder_make(&folder, options->out);
	if (status)
		return status;
	recorded.folder = folder.path;
	notice = make_notice(folder.path);
	status = notice ? run_and_merge(&recorded, notice, &wait_status) : EXIT_BAD_INPUT;
	remove_notice(notice, folder.path);
	record_folder_remove(&folder);
	return status && WIFEXITED(wait_status) && !WEXITSTATUS(wait_status)
		       ? status
		       : record_exit(wait_status);
}

/* --- the command line --- */

static int default_output(const char *command, char *out, size_t size)
{
	const char *slash = strrchr(command, '/');

	if ((size_t)snprintf(out, size, "%s.kmt", slash ? slash + 1 : command) >= size)
		return complain("%s: too long a name", command);
	return EXIT_OK;
}

static int parse(int argc, char **argv, struct record_options *options)
{
	int option;

	while ((option = next_option(argc, argv, "+o:a", long_options)) >= 0) {
		switch (option) {
		case 'o':
			options->out = optarg;
			break;
		case 'a':
			options->all_cpus = true;
			break;
		case OPTION_KERNEL:
			options->kernel = true;
			break;
		case OPTION_QUIET:
			options->quiet = true;
			break;
		case OPTION_CLOCK:
			options->monotonic = !strcmp(optarg, "monotonic");
			if (!options->monotonic && strcmp(optarg, "tsc") != 0)
				return complain("--clock: %s: tsc or monotonic", optarg);
			break;
		default:
			return help(), OPTION_HELP;
		}
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	if (optind == argc)
		return complain("record wants a command; see `kmm record --help'");
	if (options->all_cpus && !options->kernel)
		return complain("-a goes with --kernel");
	options->command = argv + optind;
	return EXIT_OK;
}

int command_record(int argc, char **argv)
{
	struct record_options options = {0};
	char name[NAME_MAX + 1];
	struct stat file;
	int status = parse(argc, argv, &options);

	if (status)
		return status == OPTION_HELP ? EXIT_OK : status;
	if (!options.out) {
		status = default_output(options.command[0], name, sizeof(name));
		options.out = name;
	}
	if (status)
		return status;
	if (!stat(options.out, &file) && !S_ISREG(file.st_mode))
		return complain("%s: is there and no file", options.out);
	record_catch_signals();
	status = options.kernel ? record_kernel(&options) : record_program(&options);
	return *record_stop() ? record_exit(*record_stop()) : status;
}
