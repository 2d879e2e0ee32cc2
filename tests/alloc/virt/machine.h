/* SPDX-License-Identifier: MIT */
/* A small machine for the tests of alloc/virt, and how they see that a child was stopped. */
#ifndef TESTS_VIRT_MACHINE_H
#define TESTS_VIRT_MACHINE_H

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kmm.h"
#include "tests/tap/tap.h"

/* nr_nodes nodes, two CPUs a node. */
static inline struct kmm *machine_boot_config(unsigned int nr_nodes, struct kmm_config config)
{
	struct kmm *machine;
	char synthetic[80];
	int err;

	snprintf(synthetic, sizeof(synthetic), "pack:%u [numa(memory=1GB)] core:2 pu:1", nr_nodes);
	config.synthetic = synthetic;
	config.no_thp = true;
	err = kmm_boot(&config, &machine);
	if (err) {
		printf("Bail out! boot: %s (%s)\n", kmm_boot_error(), strerror(-err));
		exit(1);
	}
	kmm_attach(machine, 0);
	return machine;
}

static inline struct kmm *machine_boot(unsigned int nr_nodes, u64 node_bytes, u64 shared_bytes,
				       enum zone_layout layout)
{
	return machine_boot_config(nr_nodes, (struct kmm_config){.layout = layout,
								 .node_bytes = node_bytes,
								 .shared_bytes = shared_bytes});
}

/* Ends the machine; nothing may have leaked. */
static inline void machine_end(struct kmm *machine)
{
	struct kmm_leaks leaks;

	ok_eq(kmm_shutdown(machine, &leaks), 0);
	ok_eq(leaks.pages, 0);
	ok_eq(leaks.objects, 0);
	ok_eq(leaks.large_kmallocs, 0);
	ok_eq(leaks.vmap_areas, 0);
}

/* The signal that act(arg) ends a forked child with; 0 if it returned. The child's words are not
 * shown. */
static inline int signal_of_child(void (*act)(void *), void *arg)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		static const struct rlimit no_core = {0, 0};

		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit instead */
		signal(SIGBUS, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		act(arg);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#endif
