/* SPDX-License-Identifier: MIT */
/* The layers that a heap's machine is booted from: it has no vmalloc. */
#include "base/machine.h"

const struct kmm_layer *const kmm_layers[] = {&phys_layer, &slab_layer, NULL};
