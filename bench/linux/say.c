// SPDX-License-Identifier: MIT
/* Lines on the host's stdout, which is the kernel's as it is a process there. */
#include "kmm_linux.h"

#include <linux/stdarg.h>
#include <os.h>

#define LINE 512

static void write_line(const char *before, const char *fmt, va_list ap)
{
	static char line[LINE];
	int n = scnprintf(line, LINE - 1, "%s", before), done = 0;

	n += vscnprintf(line + n, LINE - 1 - n, fmt, ap);
	line[n++] = '\n';
	while (done < n) {
		int wrote = os_write_file(1, line + done, n - done);

		if (wrote == -EINTR || wrote == -EAGAIN)
			continue;
		if (wrote <= 0)
			return; /* nobody reads: the run ends by itself */
		done += wrote;
	}
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line("", fmt, ap);
	va_end(ap);
}

int say_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line("error ", fmt, ap);
	va_end(ap);
	return -EIO;
}
