# SPDX-License-Identifier: MIT
# Tests speak TAP (tests/tap/tap.h) and mirror alloc/, bench/ and workloads/ file by file.

LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
TEST_EXTENSIONS = .sh
AM_TESTS_ENVIRONMENT = srcdir='$(srcdir)'; export srcdir; builddir='$(builddir)'; export builddir;
test_ldadd = libkmmcore.la
EXTRA_DIST += tests/tap/tap.h

# bench: peers and suites
bench_suite_tests = tests/bench/peers/peers_test tests/bench/results/latency_test tests/bench/suites/suites_test \
	tests/bench/suites/suites_checks_test \
	tests/bench/suites/verify_test tests/bench/suites/page_cases_test tests/bench/suites/object_cases_test
check_PROGRAMS += $(bench_suite_tests)
TESTS += $(bench_suite_tests)
tests_bench_peers_peers_test_SOURCES = tests/bench/peers/peers_test.c
tests_bench_peers_peers_test_LDADD = libsuites.la -ldl
tests_bench_results_latency_test_SOURCES = tests/bench/results/latency_test.c
tests_bench_results_latency_test_LDADD = libsuites.la libkmmcore.la
tests_bench_suites_suites_test_SOURCES = tests/bench/suites/suites_test.c tests/bench/drive.h tests/bench/drive.c
tests_bench_suites_suites_test_LDADD = libsuites.la libkmmcore.la -ldl
tests_bench_suites_suites_checks_test_SOURCES = tests/bench/suites/suites_checks_test.c tests/bench/drive.h tests/bench/drive.c \
	tests/bench/broken.h tests/bench/broken.c
tests_bench_suites_suites_checks_test_LDADD = libsuites.la libkmmcore.la -ldl
tests_bench_suites_page_cases_test_SOURCES = tests/bench/suites/page_cases_test.c tests/bench/broken.h \
	tests/bench/broken.c
tests_bench_suites_page_cases_test_LDADD = libsuites.la libkmmcore.la -ldl
tests_bench_suites_object_cases_test_SOURCES = tests/bench/suites/object_cases_test.c tests/bench/broken.h \
	tests/bench/broken.c
tests_bench_suites_object_cases_test_LDADD = libsuites.la libkmmcore.la -ldl
tests_bench_suites_verify_test_LDADD = libsuites.la libkmmcore.la -ldl

# bench: the command's core
bench_tests = tests/bench/commands/pagetable_test tests/bench/results/stats_test tests/bench/options/options_test tests/bench/run/gbench_test \
	tests/bench/results/results_test tests/bench/paths_test tests/bench/run/case_run_test tests/bench/run/measure_test \
	tests/bench/run/supervise_test
check_PROGRAMS += $(bench_tests)
TESTS += $(bench_tests)
tests_bench_commands_pagetable_test_LDADD = $(bench_ldadd)
tests_bench_commands_pagetable_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=ioctl
tests_bench_results_stats_test_LDADD   = $(bench_ldadd)
tests_bench_options_options_test_LDADD = $(bench_ldadd)
tests_bench_run_gbench_test_LDADD  = $(bench_ldadd)
tests_bench_results_results_test_LDADD = $(bench_ldadd)
tests_bench_paths_test_LDADD = $(bench_ldadd)
tests_bench_run_case_run_test_LDADD = $(bench_ldadd)
tests_bench_run_measure_test_LDADD = $(bench_ldadd)
tests_bench_run_supervise_test_LDADD = $(bench_ldadd)
# Whole runs of the command take minutes there, and suites_test has their threads.
if !SANITIZED_THREADS
TESTS += tests/bench/commands/command.sh tests/bench/commands/linux.sh
endif
TESTS += tests/bench/commands/pagetable.sh tests/bench/commands/topo.sh
EXTRA_DIST += tests/bench/commands/command.sh tests/bench/commands/pagetable.sh tests/bench/commands/topo.sh \
	tests/bench/results/folder.h

# bench: the Linux kernel as a peer
linux_tests = tests/bench/run/linux_lines_test tests/bench/run/linux_buddy_test tests/fuzz/linux_lines_corpus_test
check_PROGRAMS += $(linux_tests)
TESTS += $(linux_tests)
tests_bench_run_linux_lines_test_LDADD = libbench.la
tests_bench_run_linux_buddy_test_SOURCES = tests/bench/run/linux_buddy_test.c \
	tests/bench/run/linux_recording.h tests/bench/run/linux_recording.c \
	tests/bench/run/linux_buddy.h tests/bench/run/linux_buddy.c tests/bench/run/kmm_buddy.h tests/bench/run/kmm_buddy.c \
	tests/bench/run/page_events.h tests/bench/run/page_events.c
tests_bench_run_linux_buddy_test_LDADD = $(bench_ldadd)
tests_fuzz_linux_lines_corpus_test_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fuzz_main.c tests/fuzz/linux_lines_fuzz.c
tests_fuzz_linux_lines_corpus_test_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"tests/fuzz/corpus/linux_lines"'
tests_fuzz_linux_lines_corpus_test_LDADD = libbench.la
EXTRA_DIST += tests/bench/commands/linux.sh tests/fixtures/linux/free-6.1.txt \
	tests/fuzz/corpus/linux_lines/run.txt tests/fuzz/corpus/linux_lines/state.txt

# alloc/base
alloc_base_tests = \
	tests/alloc/base/bits_test \
	tests/alloc/base/list_test \
	tests/alloc/base/lock_test \
	tests/alloc/base/rbtree_test
check_PROGRAMS += $(alloc_base_tests)
TESTS += $(alloc_base_tests)
tests_alloc_base_bits_test_LDADD = $(test_ldadd)
tests_alloc_base_list_test_LDADD = $(test_ldadd)
tests_alloc_base_lock_test_LDADD = $(test_ldadd)
tests_alloc_base_rbtree_test_LDADD = $(test_ldadd)

# alloc/arch
alloc_arch_tests = \
	tests/alloc/arch/cpu_test \
	tests/alloc/arch/host_test \
	tests/alloc/arch/topology_test
EXTRA_DIST += tests/fixtures/two-nodes.xml tests/fixtures/cpuless-node.xml
known_machines = two-sockets eight-nodes linked-memory asymmetric-cores
EXTRA_DIST += $(known_machines:%=tests/fixtures/%.xml) $(known_machines:%=tests/fixtures/%.topo)
check_PROGRAMS += $(alloc_arch_tests)
TESTS += $(alloc_arch_tests)
tests_alloc_arch_cpu_test_LDADD = $(test_ldadd)
tests_alloc_arch_host_test_LDADD = $(test_ldadd)
tests_alloc_arch_topology_test_LDADD = $(test_ldadd)

# alloc/report
report_tests = tests/alloc/report/locks_test tests/alloc/report/numastat_test \
	tests/alloc/report/pagetypeinfo_test tests/alloc/report/vmstat_test tests/alloc/report/zoneinfo_test
check_PROGRAMS += $(report_tests)
TESTS += $(report_tests)
EXTRA_DIST += tests/alloc/report/text.h
tests_alloc_report_locks_test_LDADD = $(test_ldadd)
tests_alloc_report_numastat_test_LDADD = $(test_ldadd)
tests_alloc_report_pagetypeinfo_test_LDADD = $(test_ldadd)
tests_alloc_report_vmstat_test_LDADD = $(test_ldadd)
tests_alloc_report_zoneinfo_test_LDADD = $(test_ldadd)

# alloc: the layers, and the whole machine
TESTS += tests/layers.sh
EXTRA_DIST += tests/layers.sh
boot_tests = tests/alloc/boot_test tests/alloc/boot_fault_test tests/alloc/kmm_cxx_test
check_PROGRAMS += $(boot_tests)
TESTS += $(boot_tests)
EXTRA_DIST += tests/alloc/footprint.h
tests_alloc_kmm_cxx_test_SOURCES = tests/alloc/kmm_cxx_test.cc
tests_alloc_kmm_cxx_test_LDADD = $(test_ldadd)
# In C a function may have a struct's name, and some of the kernel's do.
tests_alloc_kmm_cxx_test_CXXFLAGS = $(AM_CXXFLAGS) -Wno-shadow
tests_alloc_boot_test_LDADD = $(test_ldadd)
tests_alloc_boot_fault_test_LDADD = $(test_ldadd)
tests_alloc_boot_fault_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc \
	-Wl,--wrap=aligned_alloc,--wrap=strdup

# alloc/phys
phys_tests = \
	tests/alloc/phys/memblock_test \
	tests/alloc/phys/contig_test \
	tests/alloc/phys/buddy_part_test \
	tests/alloc/phys/buddy_release_test \
	tests/alloc/phys/buddy_run_test \
	tests/alloc/phys/mem_map_test \
	tests/alloc/phys/release_test \
	tests/alloc/phys/metadata_test \
	tests/alloc/phys/buddy_test \
	tests/alloc/phys/zone_test \
	tests/alloc/phys/watermark_test \
	tests/alloc/phys/alloc_slow_test \
	tests/alloc/phys/mempolicy_test \
	tests/alloc/phys/pcp_test \
	tests/alloc/phys/bulk_test \
	tests/alloc/phys/exact_test \
	tests/alloc/phys/highmem_test \
	tests/alloc/phys/page_alloc_test \
	tests/alloc/phys/page_flags_test \
	tests/alloc/phys/page_ref_test \
	tests/alloc/phys/page_alloc_model_test \
	tests/alloc/phys/page_alloc_random_test \
	tests/alloc/phys/page_alloc_fuzz_test \
	tests/alloc/phys/phys_test \
	tests/alloc/phys/page_alloc_exhaust_test \
	tests/alloc/phys/page_alloc_threads_test \
	tests/alloc/phys/page_alloc_misuse_test \
	tests/alloc/report/buddyinfo_test
check_PROGRAMS += $(phys_tests)
TESTS += $(phys_tests)
EXTRA_DIST += tests/tap/dies.h tests/tap/fail_nth.h tests/alloc/phys/buddy_frames.h tests/alloc/phys/machine.h \
	tests/alloc/phys/nodes.h
tests_alloc_phys_memblock_test_LDADD = $(test_ldadd)
tests_alloc_phys_contig_test_LDADD = $(test_ldadd)
tests_alloc_phys_release_test_LDADD = $(test_ldadd)
tests_alloc_phys_buddy_part_test_LDADD = $(test_ldadd)
tests_alloc_phys_buddy_release_test_LDADD = $(test_ldadd)
tests_alloc_phys_buddy_run_test_LDADD = $(test_ldadd)
tests_alloc_phys_mem_map_test_LDADD = $(test_ldadd)
tests_alloc_phys_metadata_test_LDADD = $(test_ldadd)
tests_alloc_phys_buddy_test_LDADD = $(test_ldadd)
tests_alloc_phys_zone_test_LDADD = $(test_ldadd)
tests_alloc_phys_watermark_test_LDADD = $(test_ldadd)
tests_alloc_phys_alloc_slow_test_LDADD = $(test_ldadd)
tests_alloc_phys_mempolicy_test_LDADD = $(test_ldadd)
tests_alloc_phys_pcp_test_LDADD = $(test_ldadd)
tests_alloc_phys_bulk_test_LDADD = $(test_ldadd)
tests_alloc_phys_exact_test_LDADD = $(test_ldadd)
tests_alloc_phys_page_flags_test_LDADD = $(test_ldadd)
tests_alloc_phys_page_ref_test_LDADD = $(test_ldadd)
tests_alloc_phys_highmem_test_LDADD = $(test_ldadd)
tests_alloc_phys_page_alloc_test_LDADD = $(test_ldadd)
tests_alloc_phys_page_alloc_model_test_LDADD = $(test_ldadd)
frame_model = tests/alloc/phys/frame_model.h tests/alloc/phys/frame_model.c
random_work = tests/alloc/phys/random_work.h tests/alloc/phys/random_work.c tests/alloc/phys/random_ops.h \
	tests/alloc/phys/random_ops.c $(frame_model)
tests_alloc_phys_page_alloc_random_test_SOURCES = tests/alloc/phys/page_alloc_random_test.c $(random_work)
tests_alloc_phys_page_alloc_random_test_LDADD = $(test_ldadd)
tests_alloc_phys_page_alloc_fuzz_test_SOURCES = tests/alloc/phys/page_alloc_fuzz_test.c $(random_work)
tests_alloc_phys_page_alloc_fuzz_test_LDADD = $(test_ldadd)
tests_alloc_phys_phys_test_SOURCES = tests/alloc/phys/phys_test.c $(frame_model)
tests_alloc_phys_phys_test_LDADD = $(test_ldadd)
tests_alloc_phys_page_alloc_exhaust_test_SOURCES = tests/alloc/phys/page_alloc_exhaust_test.c $(frame_model)
tests_alloc_phys_page_alloc_exhaust_test_LDADD = $(test_ldadd)
tests_alloc_phys_page_alloc_threads_test_SOURCES = tests/alloc/phys/page_alloc_threads_test.c $(frame_model)
tests_alloc_phys_page_alloc_threads_test_LDADD = $(test_ldadd)
tests_alloc_phys_page_alloc_misuse_test_LDADD = $(test_ldadd)
tests_alloc_report_buddyinfo_test_LDADD = $(test_ldadd)

# scripts
SH_LOG_COMPILER = $(SHELL)
script_tests = tests/scripts/setup_test.sh tests/scripts/compare_test.sh tests/scripts/plot_report_test.sh \
	tests/scripts/flamegraph_test.sh tests/scripts/layers_test.sh tests/scripts/man_test.sh \
	tests/scripts/check_programs_test.sh tests/scripts/check_numa_test.sh tests/scripts/linux_test.sh
if !SANITIZED
TESTS += $(script_tests)
endif
EXTRA_DIST += $(script_tests) tests/scripts/make-run tests/tap/tap.sh

# alloc/virt, and its text in alloc/report
virt_tests = tests/alloc/virt/access_test tests/alloc/virt/oracle_test tests/alloc/virt/pgtable_test \
	tests/alloc/virt/pgtable_range_test tests/alloc/virt/qemu_test tests/alloc/virt/virt_test tests/alloc/virt/vmalloc_test \
	tests/alloc/virt/vmap_area_test tests/alloc/virt/vmap_lazy_test tests/alloc/virt/vmap_map_test \
	tests/alloc/virt/vmap_block_test tests/alloc/virt/vmap_group_test tests/alloc/virt/vmap_fault_test tests/alloc/virt/vmap_random_test \
	tests/alloc/virt/vmap_stack_test tests/alloc/virt/vmap_test tests/alloc/virt/walk_test \
	tests/alloc/report/vmallocinfo_test
check_PROGRAMS += $(virt_tests)
TESTS += $(virt_tests)
EXTRA_DIST += tests/alloc/virt/machine.h tests/alloc/virt/raw.h tests/alloc/virt/state.h
tests_alloc_virt_access_test_LDADD = $(test_ldadd)
tests_alloc_virt_oracle_test_LDADD = $(test_ldadd)
tests_alloc_virt_pgtable_range_test_LDADD = $(test_ldadd)
tests_alloc_virt_pgtable_test_LDADD = $(test_ldadd)
tests_alloc_virt_qemu_test_SOURCES = tests/alloc/virt/qemu_test.c tests/alloc/virt/qemu.h tests/alloc/virt/qemu.c
tests_alloc_virt_qemu_test_LDADD = $(test_ldadd)
tests_alloc_virt_virt_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmalloc_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_area_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_lazy_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_map_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_map_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=host_shared_unmap
tests_alloc_virt_vmap_block_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_block_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=host_shared_unmap
tests_alloc_virt_vmap_fault_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_fault_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=alloc_pages,--wrap=alloc_pages_node \
	-Wl,--wrap=host_shared_map,--wrap=host_write_protect
tests_alloc_virt_vmap_group_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_group_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=host_shared_unmap,--wrap=host_guard \
	-Wl,--wrap=host_shared_map,--wrap=alloc_pages_node
tests_alloc_virt_vmap_random_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_stack_test_LDADD = $(test_ldadd)
tests_alloc_virt_vmap_test_LDADD = $(test_ldadd)
tests_alloc_virt_walk_test_LDADD = $(test_ldadd)
tests_alloc_report_vmallocinfo_test_LDADD = $(test_ldadd)

# alloc/virt: the TLB model
tlb_tests = tests/alloc/virt/tlb_test tests/alloc/virt/tlb_presets_test tests/alloc/virt/tlb_random_test \
	tests/alloc/virt/tlb_space_test tests/alloc/virt/tlb_file_test tests/fuzz/tlb_file_corpus_test
check_PROGRAMS += $(tlb_tests)
TESTS += $(tlb_tests)
tests_alloc_virt_tlb_test_LDADD = $(test_ldadd)
tests_alloc_virt_tlb_presets_test_LDADD = $(test_ldadd)
tests_alloc_virt_tlb_random_test_SOURCES = tests/alloc/virt/tlb_random_test.c tests/alloc/virt/slow_tlb.c \
	tests/alloc/virt/slow_tlb.h
tests_alloc_virt_tlb_random_test_LDADD = $(test_ldadd)
tests_alloc_virt_tlb_space_test_LDADD = $(test_ldadd)
tests_alloc_virt_tlb_file_test_LDADD = $(test_ldadd)
tests_fuzz_tlb_file_corpus_test_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fuzz_main.c tests/fuzz/tlb_file_fuzz.c
tests_fuzz_tlb_file_corpus_test_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"tests/fuzz/corpus/tlb_file"'
tests_fuzz_tlb_file_corpus_test_LDADD = $(test_ldadd)
EXTRA_DIST += tests/fuzz/corpus/tlb_file/bad.tlb tests/fuzz/corpus/tlb_file/least.tlb \
	tests/fuzz/corpus/tlb_file/probed.tlb

# alloc/slab, and its text
slab_tests = tests/alloc/slab/bulk_test tests/alloc/slab/cache_test tests/alloc/slab/classes_test \
	tests/alloc/slab/debug_test tests/alloc/slab/fault_test tests/alloc/slab/kmalloc_large_test \
	tests/alloc/slab/kmalloc_test \
	tests/alloc/slab/late_classes_test \
	tests/alloc/slab/layer_test tests/alloc/slab/merge_test tests/alloc/slab/misuse_test \
	tests/alloc/slab/node_test tests/alloc/slab/owner_test tests/alloc/slab/page_test \
	tests/alloc/slab/random_test \
	tests/alloc/slab/sizes_test tests/alloc/slab/slab_test tests/alloc/slab/stats_test \
	tests/alloc/report/slabinfo_test
check_PROGRAMS += $(slab_tests)
TESTS += $(slab_tests)
EXTRA_DIST += tests/alloc/slab/machine.h
tests_alloc_slab_bulk_test_LDADD = $(test_ldadd)
tests_alloc_slab_debug_test_LDADD = $(test_ldadd)
tests_alloc_slab_merge_test_LDADD = $(test_ldadd)
tests_alloc_slab_cache_test_LDADD = $(test_ldadd)
tests_alloc_slab_classes_test_LDADD = $(test_ldadd)
tests_alloc_slab_fault_test_LDADD = $(test_ldadd)
tests_alloc_slab_fault_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=alloc_pages,--wrap=alloc_pages_node \
	-Wl,--wrap=__get_free_pages,--wrap=alloc_contig_pages
tests_alloc_slab_misuse_test_LDADD = $(test_ldadd)
tests_alloc_slab_sizes_test_LDADD = $(test_ldadd)
tests_alloc_slab_kmalloc_large_test_LDADD = $(test_ldadd)
tests_alloc_slab_kmalloc_test_LDADD = $(test_ldadd)
tests_alloc_slab_late_classes_test_LDADD = $(test_ldadd)
tests_alloc_slab_layer_test_LDADD = $(test_ldadd)
tests_alloc_slab_node_test_LDADD = $(test_ldadd)
tests_alloc_slab_owner_test_LDADD = $(test_ldadd)
tests_alloc_slab_page_test_LDADD = $(test_ldadd)
tests_alloc_slab_random_test_LDADD = $(test_ldadd)
tests_alloc_slab_slab_test_LDADD = $(test_ldadd)
tests_alloc_slab_stats_test_LDADD = $(test_ldadd)
tests_alloc_report_slabinfo_test_LDADD = $(test_ldadd)

# alloc/malloc: programs that start themselves again with libkmm-malloc.so preloaded
malloc_tests = tests/malloc/calls_test tests/malloc/growth_test tests/malloc/operators_test \
	tests/malloc/redzone_test tests/malloc/threads_test tests/malloc/trim_test
malloc_tests += tests/malloc/topology_test
check_PROGRAMS += $(malloc_tests)
TESTS += $(malloc_tests) tests/malloc/programs.sh
EXTRA_DIST += tests/malloc/preload.h tests/malloc/programs.sh
malloc_test_cflags = $(AM_CFLAGS) -fno-builtin -Wno-deprecated-declarations -Wno-unknown-warning-option \
	-Wno-use-after-free
tests_malloc_calls_test_CFLAGS = $(malloc_test_cflags)
tests_malloc_calls_test_LDADD = -ldl
tests_malloc_growth_test_CFLAGS = $(malloc_test_cflags)
tests_malloc_growth_test_LDADD = -ldl
tests_malloc_operators_test_SOURCES = tests/malloc/operators_test.cc
tests_malloc_operators_test_LDADD = -ldl
tests_malloc_redzone_test_CFLAGS = $(malloc_test_cflags)
tests_malloc_redzone_test_LDADD = -ldl
tests_malloc_threads_test_CFLAGS = $(malloc_test_cflags)
tests_malloc_threads_test_LDADD = -ldl
# That library's own look at the host, on a host that is made up.
tests_malloc_topology_test_SOURCES = tests/malloc/topology_test.c alloc/malloc/topology.c alloc/arch/topology_tables.c
tests_malloc_topology_test_CPPFLAGS = $(AM_CPPFLAGS) -DKMM_API=
tests_malloc_topology_test_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=open,--wrap=syscall
tests_malloc_trim_test_CFLAGS = $(malloc_test_cflags)
tests_malloc_trim_test_LDADD = -ldl

# workloads and replay
workload_tests = \
	tests/workloads/crc32c_test \
	tests/workloads/fleet_test \
	tests/workloads/kmt_read_test \
	tests/workloads/kmt_write_test \
	tests/workloads/perf_script_test \
	tests/bench/results/fragmentation_test \
	tests/fuzz/fleet_corpus_test \
	tests/fuzz/kmt_corpus_test \
	tests/fuzz/perf_script_corpus_test
check_PROGRAMS += $(workload_tests)
TESTS += $(workload_tests) tests/bench/commands/replay.sh tests/bench/commands/trace.sh
tests_workloads_crc32c_test_LDADD = libworkloads.la
tests_workloads_fleet_test_LDADD = libworkloads.la -lm
kmt_traces = tests/workloads/kmt_traces.h tests/workloads/kmt_traces.c
tests_workloads_kmt_read_test_SOURCES = tests/workloads/kmt_read_test.c $(kmt_traces)
tests_workloads_kmt_read_test_LDADD = libworkloads.la
tests_workloads_kmt_write_test_SOURCES = tests/workloads/kmt_write_test.c $(kmt_traces)
tests_workloads_kmt_write_test_LDADD = libworkloads.la
tests_workloads_perf_script_test_LDADD = libworkloads.la
tests_bench_results_fragmentation_test_LDADD = libbench.la -lm
tests_fuzz_fleet_corpus_test_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fuzz_main.c tests/fuzz/fleet_fuzz.c
tests_fuzz_fleet_corpus_test_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"tests/fuzz/corpus/fleet"'
tests_fuzz_fleet_corpus_test_LDADD = libworkloads.la
tests_fuzz_kmt_corpus_test_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fuzz_main.c tests/fuzz/kmt_fuzz.c
tests_fuzz_kmt_corpus_test_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"tests/fuzz/corpus/kmt"'
tests_fuzz_kmt_corpus_test_LDADD = libworkloads.la
tests_fuzz_perf_script_corpus_test_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fuzz_main.c tests/fuzz/perf_script_fuzz.c
tests_fuzz_perf_script_corpus_test_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"tests/fuzz/corpus/perf_script"'
tests_fuzz_perf_script_corpus_test_LDADD = libworkloads.la
# bench: kmm tlb
probe_tests = tests/bench/probe/chain_test tests/bench/probe/fit_test
check_PROGRAMS += $(probe_tests)
# One thread's arithmetic, which takes a minute there.
if !SANITIZED_THREADS
TESTS += $(probe_tests)
endif
TESTS += tests/bench/commands/tlb.sh tests/bench/probe/probe.sh
EXTRA_DIST += tests/bench/commands/tlb.sh tests/bench/probe/probe.sh
tests_bench_probe_chain_test_LDADD = $(bench_ldadd)
tests_bench_probe_fit_test_LDADD = $(bench_ldadd)

# workloads: traces and patterns of accesses
access_tests = tests/workloads/access_test tests/workloads/pattern_test \
	tests/fuzz/champsim_corpus_test tests/fuzz/lackey_corpus_test
check_PROGRAMS += $(access_tests)
TESTS += $(access_tests)
tests_workloads_access_test_LDADD = libworkloads.la
tests_workloads_pattern_test_LDADD = libworkloads.la -lm
tests_fuzz_champsim_corpus_test_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fuzz_main.c tests/fuzz/champsim_fuzz.c
tests_fuzz_champsim_corpus_test_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"tests/fuzz/corpus/champsim"'
tests_fuzz_champsim_corpus_test_LDADD = libworkloads.la
tests_fuzz_lackey_corpus_test_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fuzz_main.c tests/fuzz/lackey_fuzz.c
tests_fuzz_lackey_corpus_test_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"tests/fuzz/corpus/lackey"'
tests_fuzz_lackey_corpus_test_LDADD = libworkloads.la
EXTRA_DIST += \
	tests/fuzz/corpus/champsim/cut.bin \
	tests/fuzz/corpus/champsim/flag.bin \
	tests/fuzz/corpus/champsim/three.bin \
	tests/fuzz/corpus/champsim/three.bin.zst \
	tests/fuzz/corpus/lackey/bad.txt \
	tests/fuzz/corpus/lackey/kinds.txt \
	tests/fuzz/corpus/lackey/start.txt \
	tests/fuzz/corpus/lackey/start.txt.zst

# Shared objects, which libtool makes of libraries for the tests only if they have a place to be.
if SHARED
check_LTLIBRARIES += tests/bench/peers/bad_peer.la $(page_peers)
endif
test_module_ldflags = -module -avoid-version -shared -rpath /nowhere
tests_bench_peers_bad_peer_la_SOURCES = tests/bench/peers/bad_peer.c
tests_bench_peers_bad_peer_la_CFLAGS = $(AM_CFLAGS) -fno-builtin
tests_bench_peers_bad_peer_la_LDFLAGS = $(test_module_ldflags)

# Page peers: the example, and one that keeps watch and breaks, whole and in ways that no kmm takes.
page_peers = bench/peers/example_page_peer.la tests/bench/peers/test_page_peer.la tests/bench/peers/test_page_peer_abi.la \
	tests/bench/peers/test_page_peer_orders.la tests/bench/peers/test_page_peer_put.la
bench_peers_example_page_peer_la_SOURCES = bench/peers/example_page_peer.c
bench_peers_example_page_peer_la_LDFLAGS = $(AM_LDFLAGS) $(test_module_ldflags)
tests_bench_peers_test_page_peer_la_SOURCES = tests/bench/peers/test_page_peer.c
tests_bench_peers_test_page_peer_la_LDFLAGS = $(AM_LDFLAGS) $(test_module_ldflags)
tests_bench_peers_test_page_peer_abi_la_SOURCES = tests/bench/peers/test_page_peer.c
tests_bench_peers_test_page_peer_abi_la_CPPFLAGS = $(AM_CPPFLAGS) -DTEST_ABI=99
tests_bench_peers_test_page_peer_abi_la_LDFLAGS = $(AM_LDFLAGS) $(test_module_ldflags)
tests_bench_peers_test_page_peer_orders_la_SOURCES = tests/bench/peers/test_page_peer.c
tests_bench_peers_test_page_peer_orders_la_CPPFLAGS = $(AM_CPPFLAGS) -DTEST_ORDERS=1U
tests_bench_peers_test_page_peer_orders_la_LDFLAGS = $(AM_LDFLAGS) $(test_module_ldflags)
tests_bench_peers_test_page_peer_put_la_SOURCES = tests/bench/peers/test_page_peer.c
tests_bench_peers_test_page_peer_put_la_CPPFLAGS = $(AM_CPPFLAGS) -DTEST_NO_PUT -Wno-unused-function
tests_bench_peers_test_page_peer_put_la_LDFLAGS = $(AM_LDFLAGS) $(test_module_ldflags)
TESTS += tests/bench/peers/page_peers.sh
EXTRA_DIST += tests/bench/peers/page_peers.sh
fuzz_corpora = \
	tests/fuzz/corpus/fleet/bad.csv \
	tests/fuzz/corpus/fleet/header.csv \
	tests/fuzz/corpus/fleet/open.csv \
	tests/fuzz/corpus/kmt/pages.kmt \
	tests/fuzz/corpus/kmt/part.kmt \
	tests/fuzz/corpus/kmt/twelve.kmt \
	tests/fuzz/corpus/perf_script/comment.txt \
	tests/fuzz/corpus/perf_script/null.txt \
	tests/fuzz/corpus/perf_script/pages.txt \
	tests/fuzz/corpus/perf_script/twelve.txt \
	tests/fuzz/corpus/perf_script/twelve.txt.zst
EXTRA_DIST += tests/fuzz/access_fuzz.h tests/fuzz/memory_file.h
EXTRA_DIST += tests/bench/commands/replay.sh tests/bench/commands/trace.sh $(fuzz_corpora) tests/fixtures/traces/README.md \
	tests/fixtures/traces/kbuild-part.perf.txt

# libFuzzer's own programs: run them as long as you like on a copy of tests/fuzz/corpus/*.
if FUZZERS
check_PROGRAMS += tests/fuzz/fleet_fuzz tests/fuzz/kmt_fuzz tests/fuzz/perf_script_fuzz
tests_fuzz_fleet_fuzz_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fleet_fuzz.c $(libworkloads_la_SOURCES)
tests_fuzz_fleet_fuzz_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer
tests_fuzz_fleet_fuzz_LDADD = $(ZSTD_LIBS)
tests_fuzz_kmt_fuzz_SOURCES = tests/fuzz/fuzz.h tests/fuzz/kmt_fuzz.c $(libworkloads_la_SOURCES)
tests_fuzz_kmt_fuzz_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer
tests_fuzz_kmt_fuzz_LDADD = $(ZSTD_LIBS)
tests_fuzz_perf_script_fuzz_SOURCES = tests/fuzz/fuzz.h tests/fuzz/perf_script_fuzz.c $(libworkloads_la_SOURCES)
tests_fuzz_perf_script_fuzz_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer
tests_fuzz_perf_script_fuzz_LDADD = $(ZSTD_LIBS)
check_PROGRAMS += tests/fuzz/champsim_fuzz tests/fuzz/lackey_fuzz
tests_fuzz_champsim_fuzz_SOURCES = tests/fuzz/fuzz.h tests/fuzz/champsim_fuzz.c $(libworkloads_la_SOURCES)
tests_fuzz_champsim_fuzz_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer
tests_fuzz_champsim_fuzz_LDADD = $(ZSTD_LIBS) -lm
tests_fuzz_lackey_fuzz_SOURCES = tests/fuzz/fuzz.h tests/fuzz/lackey_fuzz.c $(libworkloads_la_SOURCES)
tests_fuzz_lackey_fuzz_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer
tests_fuzz_lackey_fuzz_LDADD = $(ZSTD_LIBS) -lm
check_PROGRAMS += tests/fuzz/tlb_file_fuzz
tests_fuzz_tlb_file_fuzz_SOURCES = tests/fuzz/fuzz.h tests/fuzz/tlb_file_fuzz.c alloc/virt/tlb_file.c
tests_fuzz_tlb_file_fuzz_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer
tests_fuzz_tlb_file_fuzz_LDADD = $(test_ldadd)
check_PROGRAMS += tests/fuzz/record_fuzz
tests_fuzz_record_fuzz_SOURCES = tests/fuzz/fuzz.h tests/fuzz/record_fuzz.c $(libworkloads_la_SOURCES)
tests_fuzz_record_fuzz_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer
tests_fuzz_record_fuzz_LDADD = $(ZSTD_LIBS) -lm
check_PROGRAMS += tests/fuzz/linux_lines_fuzz
tests_fuzz_linux_lines_fuzz_SOURCES = tests/fuzz/fuzz.h tests/fuzz/linux_lines_fuzz.c bench/run/linux_lines.h \
	bench/run/linux_lines.c
tests_fuzz_linux_lines_fuzz_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer
endif

# tests/numa: what runs on the machine that check-numa boots, in this order. Not part of make check.
numa_tests = topo_test memory_test policy_test objects_test arenas_test malloc_test
numa_programs = tests/numa/init $(numa_tests:%=tests/numa/%)
numa_common = tests/numa/guest.c tests/numa/guest.h
EXTRA_PROGRAMS += tests/numa/init tests/numa/topo_test tests/numa/memory_test tests/numa/policy_test \
	tests/numa/objects_test tests/numa/arenas_test tests/numa/malloc_test
tests_numa_topo_test_SOURCES = tests/numa/topo_test.c $(numa_common)
tests_numa_topo_test_LDADD = $(test_ldadd)
tests_numa_memory_test_SOURCES = tests/numa/memory_test.c $(numa_common)
tests_numa_memory_test_LDADD = $(test_ldadd)
tests_numa_policy_test_SOURCES = tests/numa/policy_test.c $(numa_common)
tests_numa_policy_test_LDADD = $(test_ldadd)
tests_numa_objects_test_SOURCES = tests/numa/objects_test.c $(numa_common)
tests_numa_objects_test_LDADD = $(test_ldadd)
tests_numa_arenas_test_SOURCES = tests/numa/arenas_test.c tests/bench/drive.c tests/bench/drive.h $(numa_common)
tests_numa_arenas_test_LDADD = libsuites.la libkmmcore.la -ldl
tests_numa_malloc_test_SOURCES = tests/numa/malloc_test.c
tests_numa_malloc_test_LDADD = -ldl
CLEANFILES += $(EXTRA_PROGRAMS)
check-numa: kmm $(lib_LTLIBRARIES) $(numa_programs)
	@$(srcdir)/scripts/check-numa --install $(NUMA_ARGS) tests/numa $(numa_tests)

# The random tests for as long as one likes: LONG_OPS operations of the page allocator and of slab (8 threads in as
# many runs as 7 whole ones) against their models, and of the others what takes a minute or two besides. TEST_SEED=n
# repeats a run.
LONG_OPS = 100000000
long_tests = \
	tests/alloc/phys/page_alloc_random_test \
	tests/alloc/phys/page_alloc_fuzz_test \
	tests/alloc/phys/page_alloc_model_test \
	tests/alloc/phys/buddy_test \
	tests/alloc/slab/random_test \
	tests/alloc/virt/oracle_test tests/alloc/virt/pgtable_test
.PHONY: check-long
check-long: $(long_tests)
	TEST_OPS=$(LONG_OPS) tests/alloc/phys/page_alloc_random_test
	TEST_OPS=$$(($(LONG_OPS) / 10)) tests/alloc/phys/page_alloc_fuzz_test
	TEST_OPS=$$(($(LONG_OPS) / 50)) tests/alloc/phys/page_alloc_model_test
	TEST_OPS=$$(($(LONG_OPS) / 500)) tests/alloc/phys/buddy_test
	TEST_OPS=$$(($(LONG_OPS) / 56)) tests/alloc/slab/random_test
	TEST_OPS=$(LONG_OPS) tests/alloc/virt/oracle_test
	TEST_OPS=$$(($(LONG_OPS) / 100)) tests/alloc/virt/pgtable_test

# kmm record: programs to be recorded and to count by, driven by a script.
record_programs = tests/workloads/record/sums tests/workloads/record/work
check_PROGRAMS += $(record_programs)
record_tests = tests/workloads/record/merge_test tests/fuzz/record_corpus_test
check_PROGRAMS += $(record_tests)
TESTS += $(record_tests) tests/workloads/record/record.sh
EXTRA_DIST += tests/workloads/record/record.sh tests/fuzz/corpus/record/short.bin tests/fuzz/corpus/record/threads.bin \
	tests/fuzz/corpus/record/wide.bin
tests_workloads_record_merge_test_LDADD = libworkloads.la
tests_fuzz_record_corpus_test_SOURCES = tests/fuzz/fuzz.h tests/fuzz/fuzz_main.c tests/fuzz/record_fuzz.c
tests_fuzz_record_corpus_test_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"tests/fuzz/corpus/record"'
tests_fuzz_record_corpus_test_LDADD = libworkloads.la
tests_workloads_record_sums_SOURCES = tests/workloads/record/sums.c
tests_workloads_record_sums_LDADD = libworkloads.la
tests_workloads_record_work_SOURCES = tests/workloads/record/work.c
tests_workloads_record_work_CFLAGS = $(AM_CFLAGS) -fno-builtin -Wno-unknown-warning-option -Wno-use-after-free \
	-Wno-alloc-size-larger-than
