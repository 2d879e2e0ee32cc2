# SPDX-License-Identifier: MIT
# libkmm. Headers are installed with their folders; kmm.pc adds $(includedir)/kmm to the include path.
#
# libkmmcore is the same objects as an archive that is not installed: the tests and the kmm command link it, so
# that they see what the shared library hides, and calls into it are plain calls.

noinst_LTLIBRARIES += libkmmcore.la
lib_LTLIBRARIES    += libkmm.la
pkgconfig_DATA     += alloc/kmm.pc

# What libkmm-malloc.so is made of, too: all but hwloc, virt and the reports.
heap_core_sources =
libkmmcore_la_SOURCES = $(heap_core_sources)
libkmmcore_la_CFLAGS  = $(AM_CFLAGS) -fvisibility=hidden
libkmmcore_la_LIBADD  = $(HWLOC_LIBS)

libkmm_la_SOURCES =
libkmm_la_LIBADD  = libkmmcore.la
libkmm_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0
# No sources of its own: this is how there is a libkmm.a, too.
libkmm_la_LIBTOOLFLAGS =

kmmincludedir = $(includedir)/kmm
nobase_kmminclude_HEADERS =

# base
heap_core_sources += \
	alloc/base/bits.h \
	alloc/base/check.c \
	alloc/base/check.h \
	alloc/base/lock.c \
	alloc/base/rbtree.c \
	alloc/base/rbtree.h \
	alloc/base/refuse.c
nobase_kmminclude_HEADERS += \
	alloc/base/compiler.h \
	alloc/base/config.h \
	alloc/base/cpu.h \
	alloc/base/list.h \
	alloc/base/lock.h \
	alloc/base/machine.h \
	alloc/base/text.h \
	alloc/base/types.h

# arch
heap_core_sources += \
	alloc/arch/cpu.c \
	alloc/arch/host.c \
	alloc/arch/host.h \
	alloc/arch/hostmem.c \
	alloc/arch/percpu.c \
	alloc/arch/slots.h \
	alloc/arch/topology_tables.c \
	alloc/arch/topology_tables.h
libkmmcore_la_SOURCES += \
	alloc/arch/binding.c \
	alloc/arch/hostguard.c \
	alloc/arch/topology.c \
	alloc/arch/topology_impl.h \
	alloc/arch/topology_print.c
nobase_kmminclude_HEADERS += \
	alloc/arch/topology.h

# phys
heap_core_sources += \
	alloc/phys/alloc.h \
	alloc/phys/alloc_slow.c \
	alloc/phys/buddy.c \
	alloc/phys/buddy.h \
	alloc/phys/buddy_lists.h \
	alloc/phys/buddy_release.c \
	alloc/phys/buddy_part.c alloc/phys/buddy_run.c \
	alloc/phys/buddy_validate.c \
	alloc/phys/bulk.c \
	alloc/phys/contig.c \
	alloc/phys/count.c \
	alloc/phys/exact.c \
	alloc/phys/highmem.c \
	alloc/phys/mem_map.c \
	alloc/phys/mem_map.h \
	alloc/phys/memblock.c \
	alloc/phys/mempolicy.c \
	alloc/phys/memblock.h \
	alloc/phys/metadata.c \
	alloc/phys/page_alloc.c \
	alloc/phys/page_ref.c \
	alloc/phys/pageblock.c \
	alloc/phys/pageblock.h \
	alloc/phys/pcp.c \
	alloc/phys/pcp.h \
	alloc/phys/pcp_drain.c \
	alloc/phys/phys.c \
	alloc/phys/phys.h \
	alloc/phys/release.c \
	alloc/phys/watermark.c \
	alloc/phys/watermark.h \
	alloc/phys/zone.c \
	alloc/phys/zone.h
nobase_kmminclude_HEADERS += \
	alloc/phys/gfp.h \
	alloc/phys/mempolicy.h \
	alloc/phys/highmem.h \
	alloc/phys/page.h \
	alloc/phys/page_alloc.h \
	alloc/phys/page_flags.h \
	alloc/phys/page_ref.h

# slab
heap_core_sources += \
	alloc/slab/bulk.c \
	alloc/slab/cache.c \
	alloc/slab/cache.h \
	alloc/slab/fast.h \
	alloc/slab/debug.c \
	alloc/slab/drain.c \
	alloc/slab/kmalloc.c \
	alloc/slab/kmalloc_classes.c \
	alloc/slab/kmalloc_large.c \
	alloc/slab/layer.c \
	alloc/slab/node.c \
	alloc/slab/page.c \
	alloc/slab/slab.c \
	alloc/slab/stats.c \
	alloc/slab/validate.c
nobase_kmminclude_HEADERS += \
	alloc/slab/kmalloc.h \
	alloc/slab/slab.h

# virt
libkmmcore_la_SOURCES += \
	alloc/virt/oracle.c \
	alloc/virt/pgtable.c \
	alloc/virt/pgtable_range.c \
	alloc/virt/pgtable_validate.c \
	alloc/virt/table.h \
	alloc/virt/virt.c \
	alloc/virt/virt.h \
	alloc/virt/vmalloc.c \
	alloc/virt/vmap.c \
	alloc/virt/vmap_area.c \
	alloc/virt/vmap_area.h \
	alloc/virt/vmap_block.c \
	alloc/virt/vmap_group.c \
	alloc/virt/vmap_lazy.c \
	alloc/virt/vmap_stack.c \
	alloc/virt/vmap_map.c \
	alloc/virt/walk.c
nobase_kmminclude_HEADERS += \
	alloc/virt/oracle.h \
	alloc/virt/pgtable.h \
	alloc/virt/pgtable_formats.h \
	alloc/virt/vmalloc.h \
	alloc/virt/walk.h \
	alloc/virt/walk_batch.h

# virt: the TLB model
libkmmcore_la_SOURCES += \
	alloc/virt/tlb.c \
	alloc/virt/tlb_array.c \
	alloc/virt/tlb_array.h \
	alloc/virt/tlb_cpu.h \
	alloc/virt/tlb_file.c \
	alloc/virt/tlb_presets.c \
	alloc/virt/tlb_space.c \
	alloc/virt/tlb_stream.c \
	alloc/virt/tlb_wide.c
nobase_kmminclude_HEADERS += \
	alloc/virt/tlb.h \
	alloc/virt/tlb_file.h

# report
libkmmcore_la_SOURCES += \
	alloc/report/buddyinfo.c \
	alloc/report/locks.c \
	alloc/report/numa.h \
	alloc/report/numastat.c \
	alloc/report/pagetypeinfo.c \
	alloc/report/slabinfo.c \
	alloc/report/vmallocinfo.c \
	alloc/report/vmstat.c \
	alloc/report/zoneinfo.c
nobase_kmminclude_HEADERS += \
	alloc/report/report.h

# the machine
heap_core_sources += \
	alloc/boot.c \
	alloc/boot_config.c \
	alloc/boot_config.h
libkmmcore_la_SOURCES += \
	alloc/layers.c
nobase_kmminclude_HEADERS += \
	alloc/kmm.h

# libkmm-malloc.so: malloc on kmm, for LD_PRELOAD and for linking. It shows nothing but malloc's family, and has
# neither hwloc nor any other library in it but the C library.
if MALLOC_LIBRARY
lib_LTLIBRARIES += libkmm-malloc.la
dist_man_MANS += alloc/malloc/libkmm-malloc.3
endif
libkmm_malloc_la_SOURCES = $(heap_core_sources) \
	alloc/malloc/early.c \
	alloc/malloc/fork.c \
	alloc/malloc/heap.h \
	alloc/malloc/huge.c \
	alloc/malloc/info.c \
	alloc/malloc/layers.c \
	alloc/malloc/malloc.c \
	alloc/malloc/malloc_fast.h \
	alloc/malloc/new.c \
	alloc/malloc/objects.c \
	alloc/malloc/options.c \
	alloc/malloc/runs.c \
	alloc/malloc/runs.h \
	alloc/malloc/start.c \
	alloc/malloc/topology.c \
	alloc/malloc/trim.c
# The compiler must not make calls of malloc out of ours, and a thread-local must not need one.
libkmm_malloc_la_CPPFLAGS = $(AM_CPPFLAGS) -DKMM_API=
libkmm_malloc_la_CFLAGS   = $(AM_CFLAGS) -fvisibility=hidden -ftls-model=initial-exec -fno-builtin-malloc \
			    -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free
libkmm_malloc_la_LDFLAGS  = $(AM_LDFLAGS) -shared -avoid-version -Wl,-Bsymbolic -Wl,-z,now -Wl,-z,nodelete \
			    -Wl,--version-script=$(srcdir)/alloc/malloc/libkmm-malloc.map
libkmm_malloc_la_LIBTOOLFLAGS = --tag=disable-static
EXTRA_libkmm_malloc_la_DEPENDENCIES = alloc/malloc/libkmm-malloc.map
EXTRA_DIST += alloc/malloc/libkmm-malloc.map alloc/malloc/libkmm-malloc.3
