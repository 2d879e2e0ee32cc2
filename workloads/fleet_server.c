/* SPDX-License-Identifier: MIT */
/*
 * A server, as a table of fleet.h: made for kmm, of no real program. It has what the tables of real ones
 * have in common: more than half of the objects are of 64 bytes or less and hold less than a tenth of the
 * memory, the few of 4 KiB and more hold most of it; most sizes are multiples of 8, with favourites among
 * powers of two; and means of life lie between a twelfth of a second and a minute, with no regard to
 * size.
 */
#include "base/compiler.h"
#include "workloads/fleet.h"

/* size, allocations a second, live */
static const struct fleet_entry entries[] = {
	{8, 11600, 22000},    {12, 7860, 6290},	    {16, 23800, 52400},	    {20, 23000, 11500},
	{24, 14300, 85900},   {32, 29500, 121000},  {40, 29300, 88000},	    {48, 10900, 81700},
	{56, 22200, 53400},   {64, 13700, 75500},   {72, 4320, 34600},	    {80, 6200, 40900},
	{88, 7350, 14700},    {96, 4000, 44000},    {104, 3180, 10500},	    {112, 3820, 16800},
	{120, 6290, 9430},    {128, 3610, 32500},   {144, 4620, 23100},	    {160, 2580, 19900},
	{176, 3220, 8380},    {192, 3630, 17800},   {208, 2370, 7340},	    {224, 1050, 6290},
	{240, 2380, 5240},    {256, 1910, 16800},   {288, 2330, 8380},	    {320, 1810, 9430},
	{352, 2160, 3670},    {384, 1150, 7340},    {416, 1120, 3140},	    {448, 751, 2930},
	{480, 1910, 2100},    {512, 1300, 6500},    {576, 1360, 2720},	    {640, 1050, 3140},
	{704, 1400, 1260},    {768, 630, 2520},	    {896, 933, 1680},	    {1024, 960, 5760},
	{1152, 900, 1260},    {1280, 588, 1470},    {1536, 481, 1780},	    {1792, 612, 734},
	{2048, 539, 3770},    {2560, 589, 943},	    {3072, 318, 1050},	    {4096, 958, 11500},
	{4160, 5250, 2100},   {5120, 250, 524},	    {6144, 403, 524},	    {8192, 489, 4400},
	{10240, 449, 314},    {12288, 210, 419},    {16384, 280, 1680},	    {20480, 420, 210},
	{32768, 245, 734},    {49152, 350, 105},    {65536, 184, 367},	    {131072, 786, 62.9},
	{262144, 62.8, 31.4}, {524288, 20.9, 8.38}, {1048576, 0.315, 6.29}, {2097152, 0.035, 2.1},
};

const struct fleet_profile fleet_server = {
	.name = "server",
	.entries = entries,
	.nr = ARRAY_SIZE(entries),
};
