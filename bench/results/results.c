/* SPDX-License-Identifier: MIT */
/*
 * The run's folder: made under a temporary name, renamed when all is in it. Every write's error is
 * kept, and the commit fails with the first. Temporary folders are named after host and process, so
 * that those of runs that were killed can be told from those of runs that go on, and removed.
 */
#include "config.h"

#include "bench/results/results_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/command.h"

#define TMP_PREFIX ".tmp-"

/* mkdir -p. 0 or -errno. */
static int make_folders(const char *path)
{
	char part[PATH_MAX];

	for (size_t i = 1; i <= strlen(path) && i < sizeof(part); i++) {
		if (path[i] != '/' && path[i])
			continue;
		snprintf(part, sizeof(part), "%.*s", (int)i, path);
		if (mkdir(part, 0777) && errno != EEXIST)
			return -errno;
	}
	return strlen(path) < sizeof(part) ? 0 : -ENAMETOOLONG;
}

/* Remove a flat folder of ours, and one level of folders in it. What cannot be removed stays. */
static void remove_folder(const char *path, int depth)
{
	char inside[PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(path);

	while (dir && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if ((size_t)snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name) >=
		    sizeof(inside))
			continue;
		if (unlink(inside) && errno == EISDIR && depth > 0)
			remove_folder(inside, depth - 1);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

/* Temporary folders of this host whose process is gone: that was killed too hard to tidy up. */
static void remove_stale(const char *dir_path, const char *host)
{
	char prefix[128], path[PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(dir_path);

	snprintf(prefix, sizeof(prefix), TMP_PREFIX "%s-", host);
	while (dir && (entry = readdir(dir))) {
		long pid;

		if (strncmp(entry->d_name, prefix, strlen(prefix)) ||
		    parse_number(entry->d_name + strlen(prefix), 1, INT_MAX, &pid))
			continue;
		if ((pid == getpid() || (kill((pid_t)pid, 0) && errno == ESRCH)) &&
		    (size_t)snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name) <
			    sizeof(path))
			remove_folder(path, 1);
	}
	if (dir)
		closedir(dir);
}

/* The host's name as it may stand in a file's name. */
static void host_name(char *host, size_t size)
{
	if (gethostname(host, size) || !host[0])
		snprintf(host, size, "host");
	host[size - 1] = '\0';
	for (char *c = host; *c; c++)
		if (*c == '/' || *c <= ' ')
			*c = '_';
}

const char *const csv_table_names[NR_CSV_TABLES] = {
#define TABLE_NAME(name, columns) #name,
	CSV_TABLES(TABLE_NAME)
#undef TABLE_NAME
};

static FILE *open_file(const struct results *results, const char *name, const char *mode)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", results->tmp, name) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return fopen(path, mode);
}

FILE *results_create(const struct results *results, const char *name)
{
	return open_file(results, name, "we");
}

FILE *results_file(struct results *results, const char *name)
{
	return open_file(results, name, "ae");
}

static int open_tables(struct results *results)
{
	char name[64];
	int error = 0;

	for (enum csv_table i = 0; !error && i < NR_CSV_TABLES; i++) {
		snprintf(name, sizeof(name), "%s.csv", csv_table_names[i]);
		results->files[i] = results_create(results, name);
		if (!results->files[i])
			return -errno;
		/* Row by row, so that those of a run that ends early are there. */
		setvbuf(results->files[i], NULL, _IOLBF, 0);
		error = csv_header(results, i);
	}
	return error;
}

int results_open(const char *dir, struct results **out)
{
	struct results *results = calloc(1, sizeof(*results));
	char host[64], stamp[32];
	time_t now = time(NULL);
	int error, room = PATH_MAX - 128;

	*out = NULL;
	if (!results)
		return complain("no memory for results"), -ENOMEM;
	results->journal = -1;
	host_name(host, sizeof(host));
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime(&now));
	error = dir[0] ? make_folders(dir) : -ENOENT;
	if (!error && snprintf(results->dir, sizeof(results->dir), "%s", dir) >= room)
		error = -ENAMETOOLONG;
	if (!error) {
		remove_stale(dir, host);
		snprintf(results->tmp, sizeof(results->tmp), "%.*s/" TMP_PREFIX "%s-%ld", room, dir,
			 host, (long)getpid());
		snprintf(results->path, sizeof(results->path), "%.*s/%s-%s", room, dir, stamp,
			 host);
		if (mkdir(results->tmp, 0777))
			error = -errno;
	}
	if (!error) {
		error = journal_open(results);
		error = error ? error : open_tables(results);
		if (error)
			remove_folder(results->tmp, 1);
	}
	if (error) {
		complain("%s: cannot make a folder for results: %s", dir, strerror(-error));
		results_close(results);
		return error;
	}
	*out = results;
	return 0;
}

/* Where the new `latest` stands until it is renamed. */
static void latest_link_path(const struct results *results, char *path, size_t size)
{
	snprintf(path, size, "%s.latest", results->tmp);
}

void results_close(struct results *results)
{
	for (int i = 0; i < NR_CSV_TABLES; i++)
		if (results->files[i])
			fclose(results->files[i]);
	if (results->journal >= 0)
		close(results->journal);
	measured_free(results);
	free(results->machine_json);
	free(results->incomplete);
	free(results);
}

void results_discard(struct results *results)
{
	char link_path[PATH_MAX + 16];

	remove_folder(results->tmp, 1);
	latest_link_path(results, link_path, sizeof(link_path));
	unlink(link_path);
	results_close(results);
}

void remark_add(struct results *results, const char *line)
{
	size_t used = strlen(results->remarks), room = sizeof(results->remarks) - used;

	if (strlen(line) + 2 <= room)
		snprintf(results->remarks + used, room, "%s\n", line);
}

void results_remark(struct results *results, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	journal_text(results, JOURNAL_REMARK, line);
	remark_add(results, line);
}

const char *results_remarks(const struct results *results)
{
	return results->remarks;
}

bool results_committed(const struct results *results)
{
	return access(results->tmp, F_OK) != 0;
}

const char *results_incomplete(const struct results *results)
{
	return results->incomplete;
}

const char *results_path(const struct results *results)
{
	return results->path;
}

/* Flush to the disk, so that a full one is known before the folder gets its name. */
static int finish_file(FILE **file)
{
	int error = 0;

	if (fflush(*file) || fsync(fileno(*file)))
		error = -errno;
	else if (ferror(*file))
		error = -EIO;
	if (fclose(*file) && !error)
		error = -errno;
	*file = NULL;
	return error;
}

static int write_machine_json(struct results *results)
{
	FILE *file = results_create(results, "machine.json");

	if (!file)
		return -errno;
	machine_json_print(results, file);
	return finish_file(&file);
}

/* Move the link in one step: a new one, renamed over the old. */
static int point_latest(const struct results *results)
{
	char link_path[PATH_MAX + 16], latest[PATH_MAX + 16];
	const char *name = strrchr(results->path, '/') + 1;

	latest_link_path(results, link_path, sizeof(link_path));
	snprintf(latest, sizeof(latest), "%s/latest", results->dir);
	unlink(link_path);
	if (symlink(name, link_path))
		return -errno;
	if (rename(link_path, latest)) {
		int error = -errno;

		unlink(link_path);
		return error;
	}
	return 0;
}

/* Never onto a folder that is there. Not every file system knows RENAME_NOREPLACE. */
static int rename_to_new(const char *from, const char *to)
{
	struct stat st;

	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (!lstat(to, &st))
		return -EEXIST;
	return rename(from, to) ? -errno : 0;
}

/* Two runs may begin in one second: the second gets a number. */
static int take_name(struct results *results)
{
	size_t length = strlen(results->path);
	int error = rename_to_new(results->tmp, results->path);

	for (int i = 2; error == -EEXIST && i < 1000; i++) {
		snprintf(results->path + length, sizeof(results->path) - length, "-%d", i);
		error = rename_to_new(results->tmp, results->path);
	}
	return error;
}

int results_finish(struct results *results)
{
	int error = measured_write(results);

	for (int i = 0; i < NR_CSV_TABLES; i++) {
		int closed = finish_file(&results->files[i]);

		error = error ? error : closed;
	}
	error = error ? error : write_machine_json(results);
	journal_remove(results);
	error = error ? error : take_name(results);
	/* `latest` stays at a whole run. */
	return error || results->incomplete ? error : point_latest(results);
}

int results_commit(struct results *results)
{
	int error = results_finish(results);

	if (error)
		complain("%s: cannot write the results: %s", results->dir, strerror(-error));
	return error;
}
