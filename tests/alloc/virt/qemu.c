/* SPDX-License-Identifier: MIT */
#include "qemu.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM	       "qemu-system-x86_64"
#define PATIENCE_MS    60000
#define FIRMWARE_BYTES 65536 /* the least that a PC takes; ends at 4 GiB */

bool qemu_is_there(void)
{
	char *path = strdup(getenv("PATH") ?: ""), *rest = path, *folder, file[4096];
	bool found = false;

	while (!found && (folder = strsep(&rest, ":"))) {
		snprintf(file, sizeof(file), "%s/" PROGRAM, folder);
		found = !access(file, X_OK);
	}
	free(path);
	return found;
}

static bool failed(struct qemu *qemu, const char *what)
{
	if (!qemu->why[0])
		snprintf(qemu->why, sizeof(qemu->why), "%s: %s", what, strerror(errno));
	return false;
}

static size_t put_32(unsigned char *at, u32 value)
{
	memcpy(at, &value, sizeof(value));
	return sizeof(value);
}

/* mov eax, value (of 32 bits, in 16-bit code) */
static size_t put_mov_eax(unsigned char *at, u32 value)
{
	at[0] = 0x66;
	at[1] = 0xb8;
	return 2 + put_32(at + 2, value);
}

/* mov crN, eax */
static size_t put_mov_cr(unsigned char *at, int n)
{
	at[0] = 0x0f;
	at[1] = 0x22;
	at[2] = (unsigned char)(0xc0 | n << 3);
	return 3;
}

/*
 * What the processor does from its reset on, in real mode, at the beginning of its last page. It
 * may turn protection and paging on by one store: CS stays what it is, whose base is 4 GiB - 64 KiB.
 */
static void put_code(unsigned char *firmware, const struct qemu_registers *registers)
{
	static const unsigned char reset[] = {0xe9, 0x0d, 0xf0};	     /* fff0: jmp f000 */
	static const unsigned char halt[] = {0xf4, 0xeb, 0xfd};		     /* hlt; jmp to it */
	static const unsigned char wrmsr[] = {0x66, 0x31, 0xd2, 0x0f, 0x30}; /* xor edx, edx */
	unsigned char *at = firmware + 0xf000;

	memcpy(firmware + 0xfff0, reset, sizeof(reset));
	*at++ = 0xfa; /* cli */
	if (registers->efer) {
		*at++ = 0x66; /* mov ecx, IA32_EFER */
		*at++ = 0xb9;
		at += put_32(at, 0xc0000080);
		at += put_mov_eax(at, registers->efer);
		memcpy(at, wrmsr, sizeof(wrmsr));
		at += sizeof(wrmsr);
	}
	at += put_mov_eax(at, registers->cr4);
	at += put_mov_cr(at, 4);
	at += put_mov_eax(at, registers->cr3);
	at += put_mov_cr(at, 3);
	at += put_mov_eax(at, registers->cr0);
	at += put_mov_cr(at, 0);
	memcpy(at, halt, sizeof(halt));
}

/* A file without a name of zeroes, mapped; -1: failed. */
static int memory_make(const char *name, size_t bytes, void **mapped)
{
	int fd = memfd_create(name, 0);

	*mapped = MAP_FAILED;
	if (fd >= 0 && !ftruncate(fd, (off_t)bytes))
		*mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*mapped != MAP_FAILED)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void become_qemu(int socket, int memory, int firmware, size_t memory_bytes, pid_t parent)
{
	char object[160], ram[32], bios[32];

	snprintf(object, sizeof(object),
		 "memory-backend-file,id=ram,share=on,size=%zu,mem-path=/proc/self/fd/%d",
		 memory_bytes, memory);
	snprintf(ram, sizeof(ram), "%zuM", memory_bytes >> 20);
	snprintf(bios, sizeof(bios), "/proc/self/fd/%d", firmware);
	/* The test may die before it hears of that. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || dup2(socket, 0) < 0 || dup2(socket, 1) < 0)
		_exit(126);
	execlp(PROGRAM, PROGRAM, "-no-user-config", "-nodefaults", "-display", "none", "-machine",
	       "pc,accel=tcg,memory-backend=ram", "-cpu", "max", "-m", ram, "-object", object,
	       "-bios", bios, "-no-reboot", "-S", "-qmp", "stdio", (char *)NULL);
	_exit(127);
}

/* One line of what it says, into qemu->text. */
static bool read_line(struct qemu *qemu)
{
	size_t length = 0;

	for (;;) {
		struct pollfd readable = {.fd = qemu->socket, .events = POLLIN};
		char *end;
		ssize_t got;

		if (length + 65536 > qemu->room) {
			char *text = realloc(qemu->text, qemu->room + (1 << 20));

			if (!text)
				return failed(qemu, "its answer");
			qemu->text = text;
			qemu->room += 1 << 20;
		}
		errno = ETIMEDOUT;
		if (poll(&readable, 1, PATIENCE_MS) <= 0)
			return failed(qemu, "QEMU says nothing");
		/* No further than the line's end: what follows is another's. */
		got = recv(qemu->socket, qemu->text + length, qemu->room - length - 1, MSG_PEEK);
		if (got <= 0) {
			errno = got ? errno : EPIPE;
			return failed(qemu, "QEMU has ended");
		}
		end = memchr(qemu->text + length, '\n', (size_t)got);
		if (end)
			got = end + 1 - (qemu->text + length);
		got = recv(qemu->socket, qemu->text + length, (size_t)got, 0);
		length += (size_t)got;
		qemu->text[length] = '\0';
		if (end)
			return true;
	}
}

/* Its next answer, events left out. */
static bool read_answer(struct qemu *qemu)
{
	do {
		if (!read_line(qemu))
			return false;
	} while (!strstr(qemu->text, "\"return\"") && !strstr(qemu->text, "\"error\""));
	if (!strncmp(qemu->text, "{\"return\"", 9))
		return true;
	snprintf(qemu->why, sizeof(qemu->why), "QEMU refuses: %.200s", qemu->text);
	return false;
}

static bool execute(struct qemu *qemu, const char *request)
{
	size_t length = strlen(request);

	if (send(qemu->socket, request, length, MSG_NOSIGNAL) != (ssize_t)length)
		return failed(qemu, "QEMU hears nothing");
	return read_answer(qemu);
}

bool qemu_start(struct qemu *qemu, size_t memory_bytes, const struct qemu_registers *registers)
{
	int memory, firmware, sockets[2] = {-1, -1};
	void *mapped, *code;
	pid_t parent = getpid();

	*qemu = (struct qemu){.pid = -1, .socket = -1};
	memory = memory_make("memory", memory_bytes, &mapped);
	firmware = memory_make("firmware", FIRMWARE_BYTES, &code);
	if (mapped != MAP_FAILED) {
		qemu->memory = mapped;
		qemu->memory_bytes = memory_bytes;
	}
	if (code != MAP_FAILED) {
		put_code(code, registers);
		munmap(code, FIRMWARE_BYTES);
	}
	if (memory >= 0 && firmware >= 0 &&
	    !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets)) {
		fflush(stdout);
		qemu->pid = fork();
		if (!qemu->pid)
			become_qemu(sockets[1], memory, firmware, memory_bytes, parent);
		qemu->socket = sockets[0];
		close(sockets[1]);
	}
	if (memory >= 0)
		close(memory);
	if (firmware >= 0)
		close(firmware);
	if (qemu->pid < 0)
		return failed(qemu, "no QEMU");
	return read_line(qemu) && /* its greeting */
	       execute(qemu, "{\"execute\":\"qmp_capabilities\"}");
}

/* "\r\n" and the like become what they mean; the string's end is the text's. */
static char *unescape(char *from)
{
	char *to = from, *text = from;

	for (; *from && *from != '"'; from++) {
		if (*from == '\\')
			*to = *++from == 'n' ? '\n' : *from == 'r' ? '\r' : *from;
		else
			*to = *from;
		to += *to != '\r';
	}
	*to = '\0';
	return text;
}

char *qemu_ask(struct qemu *qemu, const char *command)
{
	static const char before[] = "{\"return\": \"";
	char request[256];

	snprintf(request, sizeof(request),
		 "{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"%s\"}}",
		 command);
	if (!execute(qemu, request))
		return NULL;
	if (strncmp(qemu->text, before, sizeof(before) - 1)) {
		snprintf(qemu->why, sizeof(qemu->why), "%s: %.200s", command, qemu->text);
		return NULL;
	}
	return unescape(qemu->text + sizeof(before) - 1);
}

/* The value of a register in the monitor's text. */
static u32 register_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? (u32)strtoull(at + strlen(name), NULL, 16) : 0;
}

bool qemu_run(struct qemu *qemu, const struct qemu_registers *registers)
{
	static const struct timespec while_it_runs = {.tv_nsec = 1000000};
	struct timespec now;
	time_t begun;

	clock_gettime(CLOCK_MONOTONIC, &now);
	begun = now.tv_sec;
	if (!execute(qemu, "{\"execute\":\"cont\"}"))
		return false;
	for (;;) {
		const char *text = qemu_ask(qemu, "info registers");

		if (!text)
			return false;
		if (strstr(text, "HLT=1") && register_of(text, "CR0=") == registers->cr0 &&
		    register_of(text, "CR3=") == registers->cr3 &&
		    register_of(text, "CR4=") == registers->cr4)
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - begun > PATIENCE_MS / 1000) {
			snprintf(qemu->why, sizeof(qemu->why), "its processor does not halt");
			return false;
		}
		nanosleep(&while_it_runs, NULL);
	}
}

void qemu_stop(struct qemu *qemu)
{
	if (qemu->pid > 0) {
		kill(qemu->pid, SIGKILL);
		waitpid(qemu->pid, NULL, 0);
	}
	if (qemu->socket >= 0)
		close(qemu->socket);
	if (qemu->memory)
		munmap(qemu->memory, qemu->memory_bytes);
	free(qemu->text);
}
