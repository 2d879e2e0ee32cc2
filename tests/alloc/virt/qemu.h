/* SPDX-License-Identifier: MIT */
/*
 * QEMU as a processor of its own: a machine without devices whose memory this process shares, whose
 * firmware is a few bytes that turn paging on and halt, and whose monitor tells what the tables at
 * CR3 say. Tables may be changed under it at any time: it reads them anew for each question, and
 * executes nothing any more.
 *
 *	this test --- socket, QMP ---> qemu-system-x86_64
 *	     \--- memfd: its memory ---/
 *
 * It ends with the test, however the test ends. No file is made.
 */
#ifndef TESTS_VIRT_QEMU_H
#define TESTS_VIRT_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/types.h"

/* The page that the processor runs in: to be mapped to the frame of the same number, executable. */
#define QEMU_BOOT_VA 0xfffff000UL

struct qemu {
	pid_t pid;
	int socket;
	char *memory; /* shared; guest-physical address 0 on */
	size_t memory_bytes;
	char *text; /* what it said last */
	size_t room;
	char why[256]; /* what went wrong */
};

struct qemu_registers {
	u32 cr0, cr3, cr4, efer;
};

/* Is there a qemu-system-x86_64 in PATH? */
bool qemu_is_there(void);
/* Start it, with memory of zeroes; it executes nothing yet. False: qemu->why says why; stop it all
 * the same. */
bool qemu_start(struct qemu *qemu, size_t memory_bytes, const struct qemu_registers *registers);
/* Let it run until it halts with these registers. */
bool qemu_run(struct qemu *qemu, const struct qemu_registers *registers);
/* What a command of its monitor prints; NULL: qemu->why. Valid until the next. */
char *qemu_ask(struct qemu *qemu, const char *command);
void qemu_stop(struct qemu *qemu);

#endif
