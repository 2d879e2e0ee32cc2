/* SPDX-License-Identifier: MIT */
#include "bench/options/choose.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/run/case_run.h"
#include "bench/command.h"
#include "bench/run/gbench.h"
#include "bench/options/options.h"

int choose_check_suites(const struct choice *choice)
{
	const char *names[64] = {NULL};
	char word[64];

	for (int i = 0; suites[i] && i < 63; i++)
		names[i] = suites[i]->name;
	if (list_unknown(choice->suites, names, word, sizeof(word)))
		return complain("--suite: %s: no such suite", word);
	return EXIT_OK;
}

/* What --case may say for a case besides its name: fill95/pair is one of fill95, and of fill. */
struct families {
	char names[2][CASE_NAME];
};

static void find_families(const char *name, struct families *families)
{
	int length = (int)strcspn(name, "/");

	if (!name[length])
		length = 0;
	snprintf(families->names[0], CASE_NAME, "%.*s", length, name);
	while (length && isdigit((unsigned char)name[length - 1]))
		length--;
	snprintf(families->names[1], CASE_NAME, "%.*s", length, name);
}

static bool case_is_in(const char *list, const char *name)
{
	struct families families;

	find_families(name, &families);
	return list_has(list, name) || list_has(list, families.names[0]) ||
	       list_has(list, families.names[1]);
}

/* Every word of --case and --allocators must be the name of something. */
static int check_words(const struct choice *choice, const struct case_list *list)
{
	const char **names = calloc(3 * list->nr + 2 * PEER_MAX + 2, sizeof(*names));
	struct families *families = calloc(list->nr + 1, sizeof(*families));
	char word[64];
	int status = EXIT_OK;
	size_t nr = 0;

	if (!names || !families) {
		free(names);
		free(families);
		return complain("no memory");
	}
	for (size_t i = 0; i < list->nr; i++) {
		find_families(list->cases[i].name, &families[i]);
		names[3 * i] = list->cases[i].name;
		names[3 * i + 1] = families[i].names[0];
		names[3 * i + 2] = families[i].names[1];
	}
	if (list_unknown(choice->cases, names, word, sizeof(word)))
		status = complain("--case: %s: no such case in the suites chosen", word);
	memset(names, 0, 3 * list->nr * sizeof(*names));
	for (size_t i = 0; i < list->nr; i++)
		names[nr++] = list->cases[i].allocator;
	for (int i = 0; object_peer_names[i] && i < PEER_MAX; i++)
		names[nr++] = object_peer_names[i];
	names[nr++] = "kmm";
	if (!status && list_unknown(choice->allocators, names, word, sizeof(word)))
		status = complain("--allocators: %s: no such allocator", word);
	free(names);
	free(families);
	return status;
}

bool choose_wants(const struct choice *choice, const struct bench_case *c)
{
	char name[CASE_NAME];

	case_name(c, name, sizeof(name));
	return (!choice->cases || case_is_in(choice->cases, c->name)) && gbench_selected(name);
}

static bool chosen(const struct choice *choice, const struct bench_case *c)
{
	char name[CASE_NAME];

	case_name(c, name, sizeof(name));
	if (choice->one)
		return !strcmp(name, choice->one);
	return choose_wants(choice, c) &&
	       (!strcmp(c->suite, "floor") || list_has(choice->allocators, c->allocator));
}

int choose_cases(const struct choice *choice, const struct bench_env *env, struct case_list *list)
{
	size_t kept = 0;
	int status;

	for (int i = 0; suites[i]; i++) {
		int error = list_has(choice->suites, suites[i]->name)
				    ? suites[i]->enumerate(env, list)
				    : 0;

		if (error)
			return complain("suite %s: %s", suites[i]->name, strerror(-error));
	}
	status = check_words(choice, list);
	if (status)
		return status;
	for (size_t i = 0; i < list->nr; i++) {
		struct bench_case *c = &list->cases[i];

		if (!chosen(choice, c))
			continue;
		if (env->emulated && !strstr(c->note, "emulated"))
			snprintf(c->note + strlen(c->note), sizeof(c->note) - strlen(c->note),
				 "%semulated", c->note[0] ? "; " : "");
		list->cases[kept++] = *c;
	}
	list->nr = kept;
	return kept ? EXIT_OK
		    : complain("no case is left by --suite, --case, --allocators and "
			       "--benchmark_filter");
}

int choose_print(const struct case_list *list)
{
	char name[CASE_NAME];

	for (size_t i = 0; i < list->nr; i++) {
		const struct bench_case *c = &list->cases[i];

		case_name(c, name, sizeof(name));
		printf("%s%s%s\n", name, c->skipped ? "  # " : "", c->skipped ? c->note : "");
	}
	return fflush(stdout) ? complain("cannot list the cases: %s", strerror(errno)) : EXIT_OK;
}
