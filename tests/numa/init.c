/* SPDX-License-Identifier: MIT */
/*
 * Process 1 of the machine that check-numa boots: mounts what the tests read, runs each program that
 * its own command line names, and switches the machine off.
 *
 * What they print goes to the second serial port, so that no message of the kernel's falls into it;
 * after each comes a line "@end PROGRAM STATUS", and "@off" when all have run.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const struct {
	const char *type, *where;
} mounts[] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}};

/* Newlines as they are written. */
static void open_port(void)
{
	struct termios port;
	int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	if (!tcgetattr(fd, &port)) {
		cfmakeraw(&port);
		tcsetattr(fd, TCSANOW, &port);
	}
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static void run(char *name)
{
	char path[128], *argv[] = {path, NULL};
	int status = 0;
	pid_t pid;

	snprintf(path, sizeof(path), "/bin/%s", name);
	pid = fork();
	if (pid == 0) {
		execv(path, argv);
		perror(path);
		_exit(127);
	}
	/* Orphans of earlier programs end here, too. */
	while (pid > 0 && waitpid(-1, &status, 0) != pid)
		;
	if (WIFSIGNALED(status))
		printf("@end %s signal %d\n", name, WTERMSIG(status));
	else
		printf("@end %s %d\n", name, pid > 0 ? WEXITSTATUS(status) : 127);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].where, 0755);
		if (mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL))
			perror(mounts[i].where);
	}
	open_port();
	setenv("PATH", "/bin", 1);
	setenv("LD_LIBRARY_PATH", "/lib", 1);
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	puts("@off");
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_POWER_OFF);
	return 1;
}
