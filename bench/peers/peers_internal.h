/* SPDX-License-Identifier: MIT */
/* What peers.c, peers_env.c and the NUMA arenas share: a loaded library and what it can do. */
#ifndef KMM_BENCH_PEERS_INTERNAL_H
#define KMM_BENCH_PEERS_INTERNAL_H

#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>

/* Entry points that a library lacks are NULL. Constant once loaded. */
struct peer_library {
	char name[32];
	char version[96];
	char path[1024];
	char settings[512];
	void *handle;
	struct peer_library *next;

	int (*je_mallctl)(const char *name, void *old, size_t *old_size, void *new_value,
			  size_t new_size);
	void *(*je_mallocx)(size_t size, int flags);
	void (*je_dallocx)(void *object, int flags);
	void (*mi_process_info)(size_t *elapsed_ms, size_t *user_ms, size_t *system_ms, size_t *rss,
				size_t *peak_rss, size_t *commit, size_t *peak_commit,
				size_t *faults);
	void (*mi_collect)(bool force);
	int (*tc_property)(const char *name, size_t *value);
	void (*tc_release)(void);
	void (*tc_thread_idle)(void);
	struct mallinfo2 (*glibc_mallinfo2)(void);
	int (*glibc_malloc_trim)(size_t pad);
};

/* A symbol that the library behind a dlopen handle defines itself, or NULL. dlsym alone would also
 * find what its dependencies do, such as the C library's malloc. */
void *peers_own_symbol(void *handle, const char *symbol);

/* Write one line into error, and return status. */
__attribute__((format(printf, 4, 5))) int peers_fail(char *error, size_t error_size, int status,
						     const char *fmt, ...);

/* Names that mean kmm or the harness's own tables in results. */
bool peers_name_is_reserved(const char *name);

/* Append "NAME=value" to a settings string, if the environment has it; or any text. Cut off where
 * it is full. */
void peers_settings(char *settings, size_t size, const char *variable);
void peers_settings_add(char *settings, size_t size, const char *text);

/* Whether a variable has the value that peers_prepare gives it, so that the user has chosen nothing
 * else. */
bool peers_variable_is_ours(const char *variable);

/*
 * The new value of GLIBC_TUNABLES: what the user has set, and each of ours (name=value strings,
 * NULL at the end) whose name is not in it. Allocated; NULL for no memory. *added says whether
 * anything was.
 */
char *peers_merge_tunables(const char *user, const char *const *ours, bool *added);

#endif
