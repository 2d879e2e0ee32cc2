/* SPDX-License-Identifier: MIT */
/*
 * Debugging of caches: what is laid around and into their objects, and looked at again.
 *
 *	| left red zone | object             | right red zone | allocated by | freed by | asked | gap |
 *	  SLAB_RED_ZONE   SLAB_POISON: filled  SLAB_RED_ZONE    SLAB_STORE_USER           kmalloc's
 *	                  while it is free                                                red zones
 *	^ slab_base() + i * size             ^ object_size
 *	                ^ slab_first() + i * size, the address that the user has
 *
 * kmalloc remembers how many bytes were asked for, and the right red zone of a live object begins
 * there, not at the end of its class. ksize() gives the user the rest, and so moves it there.
 *
 * A cache with any of these flags has neither magazines nor depots: each allocation and free takes
 * the slow path to the slab and its lock, where the bitmap says at once whether an object is free.
 * So no other cache pays for it.
 *
 * Bytes of an object are its owner's: the user's while it is allocated, and this file's before its
 * bit is set by a free and after its bit is cleared by an allocation; while the bit is set nobody
 * may write. Bytes and their values after mm/slub.c (6.1). There a damaged object is reported and
 * mended; here it ends the program. And there red zones and poison are only looked at with
 * SLAB_CONSISTENCY_CHECKS as well, and the size asked for is known with SLAB_STORE_USER only, and
 * looked at since 6.2; here each flag looks at what it laid out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "slab/cache.h"

#define RED_FREE    0xbb
#define RED_LIVE    0xcc
#define POISON_FREE 0x6b
#define POISON_END  0xa5 /* in the last byte */

/* Who did it: the caller's return address, and the thread's number. */
struct track {
	void *addr;
	s32 tid;
	u32 cpu;
};

enum { TRACK_ALLOC, TRACK_FREE, NR_TRACKS };

/* Where the right red zone ends: there is one byte at least, and it ends at a word. */
static unsigned int red_end(const struct kmem_cache *cache)
{
	return ALIGN_UP(cache->object_size + 1, (unsigned int)sizeof(void *));
}

static bool remembers_size(const struct kmem_cache *cache)
{
	return (cache->flags & (SLAB_KMALLOC | SLAB_RED_ZONE)) == (SLAB_KMALLOC | SLAB_RED_ZONE);
}

/* Bytes of an object and all around it; fills in where the parts lie. */
static unsigned long layout(struct kmem_cache *cache)
{
	unsigned long end = cache->object_size;

	cache->red_left = 0;
	if (cache->flags & SLAB_RED_ZONE) {
		cache->red_left = ALIGN_UP((u32)sizeof(void *), cache->align);
		end = red_end(cache);
	}
	cache->track_offset = (u32)ALIGN_UP(end, sizeof(void *));
	if (cache->flags & SLAB_STORE_USER)
		end = cache->track_offset + NR_TRACKS * sizeof(struct track);
	cache->asked_offset = (u32)ALIGN_UP(end, sizeof(u32));
	if (remembers_size(cache))
		end = cache->asked_offset + sizeof(u32);
	return ALIGN_UP(cache->red_left + end, (unsigned long)cache->align);
}

/*
 * Fill in size and where the debugging parts of an object lie, from object_size, align and flags.
 * Objects so large that no slab has room for these parts do without, as with the kernel.
 */
void slab_debug_layout(struct kmem_cache *cache)
{
	unsigned long size = layout(cache);

	if (size > PAGE_SIZE << MAX_PAGE_ORDER) {
		cache->flags &= ~(SLAB_RED_ZONE | SLAB_STORE_USER);
		size = layout(cache);
	}
	cache->size = (u32)size;
}

static bool poisons(const struct kmem_cache *cache)
{
	return cache->flags & SLAB_POISON && !cache->ctor;
}

static struct track *track_of(const struct kmem_cache *cache, void *object, int which)
{
	return (struct track *)((char *)object + cache->track_offset) + which;
}

static void set_track(const struct kmem_cache *cache, void *object, int which, void *caller)
{
	struct kmm_cpu *cpu = cpu_get();

	if (cache->flags & SLAB_STORE_USER)
		*track_of(cache, object, which) = (struct track){
			.addr = caller,
			.tid = cpu->owner_tid,
			.cpu = cpu->cpu,
		};
}

/*
 * Who had an object last, as the end of a message: into text of WHO_SIZE bytes, which it returns.
 * Empty without SLAB_STORE_USER, or when nobody had it yet.
 */
const char *slab_debug_who(const struct kmem_cache *cache, void *object, char *text)
{
	static const char *const did[NR_TRACKS] = {"allocated", "freed"};
	int length = 0;

	text[0] = '\0';
	for (int i = 0; cache->flags & SLAB_STORE_USER && i < NR_TRACKS; i++) {
		const struct track *track = track_of(cache, object, i);

		if (track->addr)
			length += snprintf(text + length, WHO_SIZE - (size_t)length,
					   "; last %s by %p (thread %d on CPU %u)", did[i],
					   track->addr, track->tid, track->cpu);
	}
	return text;
}

static u32 *asked_of(const struct kmem_cache *cache, const void *object)
{
	return (u32 *)((uintptr_t)object + cache->asked_offset);
}

size_t slab_debug_asked(const struct kmem_cache *cache, const void *object)
{
	return remembers_size(cache) ? *asked_of(cache, object) : READ_ONCE(cache->object_size);
}

/* size: bytes of the object, after which the right one begins. */
static void lay_red_zones(const struct kmem_cache *cache, void *object, int byte, size_t size)
{
	if (!(cache->flags & SLAB_RED_ZONE))
		return;
	memset((char *)object - cache->red_left, byte, cache->red_left);
	memset((char *)object + size, byte, red_end(cache) - size);
	if (remembers_size(cache))
		*asked_of(cache, object) = (u32)size;
}

static void lay_poison(const struct kmem_cache *cache, void *object)
{
	if (!poisons(cache))
		return;
	memset(object, POISON_FREE, cache->object_size - 1);
	((u8 *)object)[cache->object_size - 1] = POISON_END;
}

static void check_bytes(const struct kmem_cache *cache, void *object, long from, long to, u8 want,
			const char *what)
{
	const u8 *bytes = object;
	char who[WHO_SIZE];

	for (long i = from; i < to; i++)
		KMM_BUG_ON(bytes[i] != want,
			   "object %p of cache %s (%u bytes): %s: at offset %ld is %#04x, not "
			   "%#04x%s",
			   object, cache->name, cache->object_size, what, i, bytes[i], want,
			   slab_debug_who(cache, object, who));
}

static void check_red_zones(const struct kmem_cache *cache, void *object, u8 want)
{
	size_t size = slab_debug_asked(cache, object);

	if (!(cache->flags & SLAB_RED_ZONE))
		return;
	check_bytes(cache, object, -(long)cache->red_left, 0, want, "written below its start");
	KMM_BUG_ON(size > cache->object_size, "object %p of cache %s: its size, %zu, is damaged",
		   object, cache->name, size);
	check_bytes(cache, object, (long)size, red_end(cache), want, "written past its end");
}

static void check_poison(const struct kmem_cache *cache, void *object)
{
	long last = (long)cache->object_size - 1;

	if (!poisons(cache))
		return;
	check_bytes(cache, object, 0, last, POISON_FREE, "written after it was freed");
	check_bytes(cache, object, last, last + 1, POISON_END, "written after it was freed");
}

/* An object of a new slab, before its constructor runs. */
void slab_debug_new(const struct kmem_cache *cache, void *object)
{
	lay_red_zones(cache, object, RED_FREE, cache->object_size);
	lay_poison(cache, object);
	if (cache->flags & SLAB_STORE_USER)
		memset(track_of(cache, object, 0), 0, NR_TRACKS * sizeof(struct track));
}

/* SLAB_CONSISTENCY_CHECKS: the slab that an object lies in, with the node's lock held. */
static void check_slab_locked(struct kmem_cache *cache, struct page *slab)
{
	if (cache->flags & SLAB_CONSISTENCY_CHECKS)
		slab_page_check(cache, slab, slab->nid);
}

/*
 * An object that its slab has just given out for caller, who asked for size bytes: nobody may have
 * written to it since it was freed. Takes the node's lock.
 */
void slab_debug_alloc(struct kmem_cache *cache, void *object, size_t size, void *caller)
{
	struct page *slab = object_frame(cache, object)->head;
	struct cache_node *node = cache->nodes[slab->nid];

	lock_acquire(&node->lock);
	check_slab_locked(cache, slab);
	lock_release(&node->lock);
	check_red_zones(cache, object, RED_FREE);
	check_poison(cache, object);
	lay_red_zones(cache, object, RED_LIVE, size);
	set_track(cache, object, TRACK_ALLOC, caller);
}

/* The user of a live object has size bytes of it from now on. */
void slab_debug_resize(const struct kmem_cache *cache, void *object, size_t size)
{
	if (!remembers_size(cache))
		return;
	slab_page_index(cache, object_frame(cache, object)->head, object);
	check_red_zones(cache, object, RED_LIVE);
	lay_red_zones(cache, object, RED_LIVE, size);
}

/* An address in a slab of the cache, before it goes back there. Takes the node's lock. */
void slab_debug_free(struct kmem_cache *cache, void *object, void *caller)
{
	struct page *slab = object_frame(cache, object)->head;
	struct cache_node *node = cache->nodes[slab->nid];
	char who[WHO_SIZE];
	unsigned int i;

	lock_acquire(&node->lock);
	i = slab_page_index(cache, slab, object);
	KMM_BUG_ON(slab_bits(slab)[i / 64] >> i % 64 & 1, "object %p of cache %s freed twice%s",
		   object, cache->name, slab_debug_who(cache, object, who));
	check_slab_locked(cache, slab);
	lock_release(&node->lock);
	check_red_zones(cache, object, RED_LIVE);
	set_track(cache, object, TRACK_FREE, caller);
	lay_red_zones(cache, object, RED_FREE, cache->object_size);
	lay_poison(cache, object);
}

/* Every object of a slab that nobody else changes meanwhile. */
void slab_debug_check(const struct kmem_cache *cache, struct page *slab)
{
	char *first = slab_first(cache, slab);

	for (unsigned int i = 0; i < slab->objects; i++) {
		void *object = first + (unsigned long)i * cache->size;
		bool free = slab_bits(slab)[i / 64] >> i % 64 & 1;

		check_red_zones(cache, object, free ? RED_FREE : RED_LIVE);
		if (free)
			check_poison(cache, object);
	}
}

static slab_flags_t letter_flag(char letter)
{
	switch (letter) {
	case 'F':
	case 'f':
		return SLAB_CONSISTENCY_CHECKS;
	case 'Z':
	case 'z':
		return SLAB_RED_ZONE;
	case 'P':
	case 'p':
		return SLAB_POISON;
	case 'U':
	case 'u':
		return SLAB_STORE_USER;
	default:
		return 0;
	}
}

/* Letters up to the end of a word. -EINVAL for one that is none. */
static int parse_letters(const char *word, size_t length, slab_flags_t *flags)
{
	*flags = length ? 0 : SLAB_DEBUG_FLAGS;
	if (length == 1 && *word == '-')
		return 0;
	for (size_t i = 0; i < length; i++) {
		slab_flags_t flag = letter_flag(word[i]);

		if (!flag)
			return -EINVAL;
		*flags |= flag;
	}
	return 0;
}

/* A name, or the beginning of one and a star. */
static bool word_matches(const char *word, size_t length, const char *name)
{
	if (length && word[length - 1] == '*')
		return !strncmp(word, name, length - 1);
	return strlen(name) == length && !strncmp(word, name, length);
}

int slab_debug_parse(const char *option, const char *name, slab_flags_t *flags)
{
	*flags = option && !*option ? SLAB_DEBUG_FLAGS : 0;
	while (option && *option) {
		const char *end = option + strcspn(option, ";");
		size_t length = strcspn(option, ",;");
		slab_flags_t block;

		if (parse_letters(option, length, &block))
			return -EINVAL;
		option += length;
		if (length && *option != ',')
			*flags = block;
		while (*option == ',') {
			length = strcspn(++option, ",;");
			if (name && word_matches(option, length, name)) {
				*flags = block;
				return 0;
			}
			option += length;
		}
		option = *end ? end + 1 : end;
	}
	return 0;
}
