// SPDX-License-Identifier: MIT
// The installed headers are C++ too: kmm.h compiles and its functions link, one of each layer.
#include <kmm.h>

#include <cstdio>
#include <cstring>

static bool every_layer_answers(struct kmm *machine)
{
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	void *object = kmalloc(100, GFP_KERNEL), *area = vmalloc(PAGE_SIZE);
	bool good = page && object && area && virt_to_page(page_address(page)) == page;

	if (good) {
		page->private_ = 1;
		std::memset(area, 1, PAGE_SIZE);
	}
	if (good) {
		get_page(page);
		SetPageDirty(page);
		good = kmap(page) == page_address(page) && page_count(page) == 2 &&
		       PageDirty(page) && !PageCompound(page);
		kunmap(page);
		put_page(page);
	}
	good = good && compound_head(page) == page && show_buddyinfo(machine, stderr) == 0;
	object = krealloc(object, 500, GFP_KERNEL);
	if (object) {
		struct kmem_cache *cache = kmem_cache_create("cxx", 40, 0, SLAB_RED_ZONE, NULL);
		void *objects[4] = {kmem_cache_zalloc(cache, GFP_KERNEL)};

		kmem_cache_free(cache, objects[0]);
		good = good && kmem_cache_alloc_bulk(cache, GFP_KERNEL, 4, objects) == 4;
		kmem_cache_free_bulk(cache, 4, objects);
		good = good && kmem_cache_destroy(cache) == 0;
		kfree(kcalloc(3, 5, GFP_KERNEL));
		kfree_sensitive(krealloc_array(nullptr, 3, 5, GFP_KERNEL));
	}
	vfree(area);
	kfree(object);
	__free_pages(page, 0);
	return good;
}

int main()
{
	struct kmm_config config = {};
	struct kmm *machine;

	config.synthetic = "numa:1 core:2 pu:1";
	config.node_bytes = 64UL << 20;
	config.no_thp = true;
	if (kmm_boot(&config, &machine)) {
		std::printf("Bail out! cannot boot: %s\n", kmm_boot_error());
		return 1;
	}
	std::printf("%sok 1 - every layer answers\n", every_layer_answers(machine) ? "" : "not ");
	std::printf("%sok 2 - nothing leaks\n", kmm_shutdown(machine, NULL) ? "not " : "");
	std::printf("1..2\n");
	return 0;
}
