/* SPDX-License-Identifier: MIT */
/* The layers that a machine of libkmm is booted from. */
#include "base/machine.h"

const struct kmm_layer *const kmm_layers[] = {&phys_layer, &slab_layer, &virt_layer, NULL};
