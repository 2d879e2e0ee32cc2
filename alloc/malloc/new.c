/* SPDX-License-Identifier: MIT */
/*
 * The C++ operators new and delete, in all their forms, under the names that the Itanium C++ ABI gives
 * them. In C, so that the library needs no C++ library: what it wants of one, std::get_new_handler and
 * std::__throw_bad_alloc, is there in any process that could want it of us, and else its place is 0.
 *
 * delete with a size or an alignment needs neither: an object's struct page says whose it is.
 */
#include "malloc/heap.h"
#include "malloc/malloc_fast.h"

#include "base/check.h"

typedef void (*new_handler)(void);

extern new_handler get_new_handler(void) __asm__("_ZSt15get_new_handlerv") __attribute__((weak));
extern void throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

/* As the standard wants it: call the handler, as long as there is one, and try again. */
static KMM_COLD void *new_slow(size_t size, size_t align)
{
	void *addr;

	while (!(addr = heap_alloc(size, align, false))) {
		new_handler handler = get_new_handler ? get_new_handler() : NULL;

		if (!handler)
			break;
		handler();
	}
	return addr;
}

static KMM_COLD void *new_or_throw(size_t size, size_t align)
{
	void *addr = new_slow(size, align);

	if (likely(addr))
		return addr;
	if (throw_bad_alloc)
		throw_bad_alloc();
	KMM_BUG("operator new: no memory for %zu bytes", size);
}

static inline void *new_fast(size_t size)
{
	void *addr;

	return likely(malloc_at_hand(size, &addr)) ? addr : new_or_throw(size, MIN_ALIGN);
}

static inline void *new_nothrow(size_t size)
{
	void *addr;

	return likely(malloc_at_hand(size, &addr)) ? addr : new_slow(size, MIN_ALIGN);
}

/*
 * Each operator has a name of its own here and its mangled name outside. NEW and DELETE say both: n w
 * and n a are new and new[], d l and d a delete and delete[]; m is size_t, Pv a pointer, and the two
 * long ones std::align_val_t and std::nothrow_t const &.
 */
#define ALIGN	"St11align_val_t"
#define NOTHROW "RKSt9nothrow_t"

#define OPERATOR(result, name, mangled, ...)                                                       \
	EXPORT result name(__VA_ARGS__) __asm__(mangled);                                          \
	EXPORT result name(__VA_ARGS__)

OPERATOR(void *, new_object, "_Znwm", size_t size)
{
	return new_fast(size);
}

OPERATOR(void *, new_array, "_Znam", size_t size)
{
	return new_fast(size);
}

OPERATOR(void *, new_object_nothrow, "_Znwm" NOTHROW, size_t size, const void *nothrow)
{
	(void)nothrow;
	return new_nothrow(size);
}

OPERATOR(void *, new_array_nothrow, "_Znam" NOTHROW, size_t size, const void *nothrow)
{
	(void)nothrow;
	return new_nothrow(size);
}

OPERATOR(void *, new_object_aligned, "_Znwm" ALIGN, size_t size, size_t align)
{
	return new_or_throw(size, align);
}

OPERATOR(void *, new_array_aligned, "_Znam" ALIGN, size_t size, size_t align)
{
	return new_or_throw(size, align);
}

OPERATOR(void *, new_object_aligned_nothrow, "_Znwm" ALIGN NOTHROW, size_t size, size_t align,
	 const void *nothrow)
{
	(void)nothrow;
	return new_slow(size, align);
}

OPERATOR(void *, new_array_aligned_nothrow, "_Znam" ALIGN NOTHROW, size_t size, size_t align,
	 const void *nothrow)
{
	(void)nothrow;
	return new_slow(size, align);
}

OPERATOR(void, delete_object, "_ZdlPv", void *addr)
{
	free_fast(addr);
}

OPERATOR(void, delete_array, "_ZdaPv", void *addr)
{
	free_fast(addr);
}

OPERATOR(void, delete_object_nothrow, "_ZdlPv" NOTHROW, void *addr, const void *nothrow)
{
	(void)nothrow;
	free_fast(addr);
}

OPERATOR(void, delete_array_nothrow, "_ZdaPv" NOTHROW, void *addr, const void *nothrow)
{
	(void)nothrow;
	free_fast(addr);
}

OPERATOR(void, delete_object_sized, "_ZdlPvm", void *addr, size_t size)
{
	(void)size;
	free_fast(addr);
}

OPERATOR(void, delete_array_sized, "_ZdaPvm", void *addr, size_t size)
{
	(void)size;
	free_fast(addr);
}

OPERATOR(void, delete_object_aligned, "_ZdlPv" ALIGN, void *addr, size_t align)
{
	(void)align;
	free_fast(addr);
}

OPERATOR(void, delete_array_aligned, "_ZdaPv" ALIGN, void *addr, size_t align)
{
	(void)align;
	free_fast(addr);
}

OPERATOR(void, delete_object_sized_aligned, "_ZdlPvm" ALIGN, void *addr, size_t size, size_t align)
{
	(void)size;
	(void)align;
	free_fast(addr);
}

OPERATOR(void, delete_array_sized_aligned, "_ZdaPvm" ALIGN, void *addr, size_t size, size_t align)
{
	(void)size;
	(void)align;
	free_fast(addr);
}

OPERATOR(void, delete_object_aligned_nothrow, "_ZdlPv" ALIGN NOTHROW, void *addr, size_t align,
	 const void *nothrow)
{
	(void)align;
	(void)nothrow;
	free_fast(addr);
}

OPERATOR(void, delete_array_aligned_nothrow, "_ZdaPv" ALIGN NOTHROW, void *addr, size_t align,
	 const void *nothrow)
{
	(void)align;
	(void)nothrow;
	free_fast(addr);
}
