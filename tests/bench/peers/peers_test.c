/* SPDX-License-Identifier: MIT */
/* Loading other mallocs: what each can do, what is refused and in which words. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "bench/peer.h"
#include "bench/peers/peers_internal.h"
#include "tests/tap/tap.h"

#define NR_OBJECTS 300

static struct object_peer peers[PEER_MAX];
static int nr_peers;
static char **test_argv;

static void every_known_peer_loads_or_says_why_not(void)
{
	for (int i = 0; object_peer_names[i]; i++) {
		char error[256] = "";
		int status = object_peer_load(object_peer_names[i], &peers[nr_peers], error,
					      sizeof(error));

		if (status == 0) {
			ok(!strcmp(peers[nr_peers].name, object_peer_names[i]), "named %s",
			   peers[nr_peers].name);
			nr_peers++;
			continue;
		}
		ok(status == -ENOENT || (peers_sanitized && status == -ENOTSUP), "%s: %d",
		   object_peer_names[i], status);
		ok(strstr(error, object_peer_names[i]) && !strchr(error, '\n'), "error is '%s'",
		   error);
	}
	ok(nr_peers >= 1, "not even glibc");
}

static void *use_peer(void *arg)
{
	const struct object_peer *peer = arg;
	unsigned char *objects[NR_OBJECTS];

	for (size_t i = 0; i < NR_OBJECTS; i++) {
		objects[i] = peer->alloc(i + 1);
		ok(objects[i], "%s: no memory for %zu bytes", peer->name, i + 1);
		memset(objects[i], (int)i, i + 1);
		if (peer->usable_size)
			ok(peer->usable_size(objects[i]) >= i + 1, "%s: usable size", peer->name);
	}
	for (size_t i = 0; i < NR_OBJECTS; i++) {
		ok(objects[i][0] == (unsigned char)i && objects[i][i] == (unsigned char)i,
		   "%s: %zu changed", peer->name, i);
		peer->free(objects[i]);
	}
	if (peer->aligned_alloc) {
		void *page = peer->aligned_alloc(4096, 8192);

		ok(page && (uintptr_t)page % 4096 == 0, "%s: aligned_alloc gave %p", peer->name,
		   page);
		peer->free(page);
	}
	if (peer->flush_thread)
		peer->flush_thread(peer);
	return NULL;
}

static void every_peer_allocates_in_two_threads(void)
{
	for (int i = 0; i < nr_peers; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, use_peer, &peers[i]);
		use_peer(&peers[i]);
		pthread_join(thread, NULL);
	}
}

static void peers_are_told_apart_from_the_process_malloc(void)
{
	for (int i = 0; i < nr_peers; i++)
		for (int j = 0; j < i; j++)
			ok(peers[i].alloc != peers[j].alloc, "%s and %s are one", peers[i].name,
			   peers[j].name);
}

static void known_peers_say_their_version_and_path(void)
{
	for (int i = 0; i < nr_peers; i++) {
		bool has_version =
			strcmp(peers[i].name, "rpmalloc") && strcmp(peers[i].name, "snmalloc");

		ok(!has_version || (peers[i].version[0] >= '0' && peers[i].version[0] <= '9'),
		   "%s: version '%s'", peers[i].name, peers[i].version);
		ok(strstr(peers[i].path, ".so"), "%s: path '%s'", peers[i].name, peers[i].path);
	}
}

/* 64 live objects of 64 KiB are seen, and gone after the free. */
static void statistics_follow_live_objects(void)
{
	int nr_tested = 0;

	for (int i = 0; i < nr_peers; i++) {
		struct object_peer_stats before, with, after;
		void *objects[64];

		if (!peers[i].stats || peers[i].allocated_slack < 0)
			continue;
		nr_tested++;
		ok_eq(peers[i].stats(&peers[i], &before), 0);
		for (int j = 0; j < 64; j++) {
			objects[j] = peers[i].alloc(65536);
			memset(objects[j], 1, 65536);
		}
		ok_eq(peers[i].stats(&peers[i], &with), 0);
		for (int j = 0; j < 64; j++)
			peers[i].free(objects[j]);
		if (peers[i].trim)
			peers[i].trim(&peers[i]);
		ok_eq(peers[i].stats(&peers[i], &after), 0);
		ok(with.allocated_bytes >= before.allocated_bytes + (64 << 16), "%s: %lu, then %lu",
		   peers[i].name, (unsigned long)before.allocated_bytes,
		   (unsigned long)with.allocated_bytes);
		ok(with.backing_bytes >= 64 << 16, "%s: backing %lu", peers[i].name,
		   (unsigned long)with.backing_bytes);
		ok(after.allocated_bytes <=
			   before.allocated_bytes + (uint64_t)peers[i].allocated_slack,
		   "%s: %lu after the frees, %lu before", peers[i].name,
		   (unsigned long)after.allocated_bytes, (unsigned long)before.allocated_bytes);
	}
	if (!nr_tested)
		skip("no peer here has exact statistics");
}

static void refused(const char *spec, int status, const char *words)
{
	struct object_peer peer;
	char error[256] = "";
	int got = object_peer_load(spec, &peer, error, sizeof(error));

	ok(got == status, "%s: %d, not %d", spec, got, status);
	ok(strstr(error, words) && !strchr(error, '\n'), "%s: error is '%s'", spec, error);
}

static void bad_specs_are_refused_in_one_line(void)
{
	refused("", -EINVAL, "NAME");
	refused("=/lib/x.so", -EINVAL, "NAME");
	refused("bad name=/lib/x.so", -EINVAL, "NAME");
	refused("nosuch", -EINVAL, "nosuch=/path/lib.so");
	refused("kmm=/lib/x.so", -EINVAL, "taken");
	refused("empty=", -EINVAL, "no library");
	refused("a-name-much-too-long-for-a-column-of-the-results=/x.so", -EINVAL, "NAME");
}

static void a_library_without_malloc_is_refused(void)
{
	if (peers_sanitized) {
		refused("maths=libm.so.6", -ENOTSUP, "sanitizer");
		return;
	}
	refused("missing=/nonexistent/lib.so", -ENOENT, "/nonexistent/lib.so");
	refused("maths=libm.so.6", -EINVAL, "no malloc");
}

static void a_library_given_by_path_is_known_by_what_it_exports(void)
{
	struct object_peer other;
	struct object_peer_stats stats;
	char error[256];

	if (peers_sanitized ||
	    object_peer_load("second=libjemalloc.so.2", &other, error, sizeof(error))) {
		skip("no jemalloc here");
		return;
	}
	ok(!strcmp(other.name, "second"), "named %s", other.name);
	ok(other.stats && other.stats(&other, &stats) == 0, "no statistics");
}

static void sum_locks(const struct object_peer_lock *lock, void *arg)
{
	struct object_peer_lock *sum = arg;

	ok(lock->contended <= lock->acquired, "%s: contended %llu of %llu", lock->name,
	   (unsigned long long)lock->contended, (unsigned long long)lock->acquired);
	if (!strcmp(lock->name, "bins"))
		*sum = *lock;
}

/* Filling and flushing a thread's cache takes the locks of bins, at least once each. */
static void locks_are_counted(void)
{
	int nr_tested = 0;

	for (int i = 0; i < nr_peers; i++) {
		struct object_peer_lock before = {0}, after = {0};

		if (!peers[i].locks)
			continue;
		nr_tested++;
		ok_eq(peers[i].locks(&peers[i], sum_locks, &before), 0);
		for (int j = 0; j < 8; j++) {
			peers[i].free(peers[i].alloc(64));
			peers[i].flush_thread(&peers[i]);
		}
		ok_eq(peers[i].locks(&peers[i], sum_locks, &after), 0);
		ok(after.acquired >= before.acquired + 8, "%s: %llu, then %llu", peers[i].name,
		   (unsigned long long)before.acquired, (unsigned long long)after.acquired);
	}
	if (!nr_tested)
		skip("no peer here counts its locks");
}

static void tunables_of_the_user_stay(void)
{
	static const char *const ours[] = {"a.b=1", "c.d=2", NULL};
	static const struct {
		const char *user, *merged;
		bool added;
	} cases[] = {
		{NULL, "a.b=1:c.d=2", true},
		{"", "a.b=1:c.d=2", true},
		{"x=9", "x=9:a.b=1:c.d=2", true},
		{"a.b=7", "a.b=7:c.d=2", true},
		{"c.d=2:a.b=0", "c.d=2:a.b=0", false},
		{"za.b=7:c.d=3", "za.b=7:c.d=3:a.b=1",
		 true}, /* the end of another name is not the name */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool added = !cases[i].added;
		char *merged = peers_merge_tunables(cases[i].user, ours, &added);

		ok(!strcmp(merged, cases[i].merged), "'%s'", merged);
		ok_eq(added, cases[i].added);
		free(merged);
	}
}

static void preparing_again_changes_nothing(void)
{
	char *before = strdup(getenv("GLIBC_TUNABLES") ? getenv("GLIBC_TUNABLES") : "");

	ok_eq(peers_prepare(test_argv), 0);
	ok(!strcmp(getenv("GLIBC_TUNABLES") ? getenv("GLIBC_TUNABLES") : "", before), "now %s",
	   getenv("GLIBC_TUNABLES"));
	if (!peers_sanitized)
		ok(strstr(before, "optional_static_tls"), "GLIBC_TUNABLES=%s", before);
	free(before);
}

static void options_of_the_user_are_recorded_and_kept(void)
{
	char settings[40] = "";

	setenv("KMM_TEST_OPTION", "on", 1);
	peers_settings(settings, sizeof(settings), "KMM_TEST_OPTION");
	peers_settings(settings, sizeof(settings), "KMM_TEST_NOT_SET");
	peers_settings_add(settings, sizeof(settings), "more");
	ok(!strcmp(settings, "KMM_TEST_OPTION=on more"), "'%s'", settings);
	peers_settings_add(settings, sizeof(settings), "much more than there is room for");
	ok_eq(strlen(settings), sizeof(settings) - 1);

	setenv("MIMALLOC_LARGE_OS_PAGES", "0", 1);
	ok_eq(peers_prepare(test_argv), 0);
	ok(!strcmp(getenv("MIMALLOC_LARGE_OS_PAGES"), "0"), "the user's 0 became %s",
	   getenv("MIMALLOC_LARGE_OS_PAGES"));
	ok(!peers_variable_is_ours("MIMALLOC_LARGE_OS_PAGES"), "taken for ours");
}

int main(int argc, char **argv)
{
	(void)argc;
	test_argv = argv;
	if (peers_prepare(argv)) {
		perror("peers_prepare");
		return 1;
	}
	RUN(every_known_peer_loads_or_says_why_not);
	RUN(every_peer_allocates_in_two_threads);
	RUN(peers_are_told_apart_from_the_process_malloc);
	RUN(known_peers_say_their_version_and_path);
	RUN(statistics_follow_live_objects);
	RUN(bad_specs_are_refused_in_one_line);
	RUN(a_library_without_malloc_is_refused);
	RUN(a_library_given_by_path_is_known_by_what_it_exports);
	RUN(locks_are_counted);
	RUN(tunables_of_the_user_stay);
	RUN(preparing_again_changes_nothing);
	RUN(options_of_the_user_are_recorded_and_kept);
	return done();
}
