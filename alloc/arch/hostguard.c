/* SPDX-License-Identifier: MIT */
/*
 * Pages that fault without a mapping of their own: Linux 6.13 marks them in its page tables
 * (MADV_GUARD_INSTALL), since 6.15 also where a shared object is mapped. Many stretches go to the kernel
 * in one call where it allows that (process_madvise on oneself, 6.14), else each in its own.
 *
 * No locks, no state.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arch/host.h"
#include "base/compiler.h"

/* Of linux/mman.h and linux/pidfd.h, which may be older than the kernel: MADV_GUARD_INSTALL,
 * PIDFD_SELF_THREAD. */
#define GUARD_INSTALL 102
#define PIDFD_OF_SELF (-10000)

#define BATCH 256 /* stretches a call; the kernel takes 1024 */

/* All of them are of as many bytes. */
static int guard_batch(const struct iovec *stretches, unsigned int nr, size_t size)
{
	if (syscall(SYS_process_madvise, PIDFD_OF_SELF, stretches, (size_t)nr, GUARD_INSTALL, 0U) ==
	    (long)(nr * size))
		return 0;
	for (unsigned int i = 0; i < nr; i++)
		if (madvise(stretches[i].iov_base, size, GUARD_INSTALL))
			return -errno;
	return 0;
}

int host_guard(void *addr, size_t size, size_t stride, unsigned int nr)
{
	struct iovec stretches[BATCH];
	char *at = addr;
	int err = 0;

	while (nr && !err) {
		unsigned int i, batch = min_t(unsigned int, nr, BATCH);

		for (i = 0; i < batch; i++, at += stride)
			stretches[i] = (struct iovec){at, size};
		err = guard_batch(stretches, batch, size);
		nr -= batch;
	}
	return err;
}

bool host_has_guards(void)
{
	int fd = host_shared_create("kmm-guard", PAGE_SIZE);
	bool has = false;
	void *page;

	if (fd < 0)
		return false;
	page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page != MAP_FAILED) {
		has = !host_guard(page, PAGE_SIZE, PAGE_SIZE, 1);
		munmap(page, PAGE_SIZE);
	}
	host_shared_close(fd);
	return has;
}
