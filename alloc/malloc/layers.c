/* SPDX-License-Identifier: MIT */
/* The layers that a heap's machine is booted from: it has no vmalloc, and a layer of its own. */
#include "base/machine.h"
#include "malloc/heap.h"

const struct kmm_layer *const kmm_layers[] = {&phys_layer, &slab_layer, &runs_layer, NULL};
