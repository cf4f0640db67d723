/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The size of a ring buffer is given in pages. */
#define PAGE_SIZE (1UL << TK_PAGE_SHIFT)
