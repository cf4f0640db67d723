// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory given to the next kernel (kernel/liveupdate/kexec_handover.c). Sub-trees, LUO sessions
 * and files are probed with tk_call. The functions that mark pages take either page frame and
 * order, or since 7.3 the radix tree's key that has both: 1 << (52 - order) | pa >> (12 + order)
 * with 4K pages.
 */
static inline int tk_pages(struct pt_regs *ctx, u16 kind)
{
	u64 first = PT_REGS_PARM2(ctx), order = PT_REGS_PARM3(ctx);
	struct tk_record r;

#ifdef TK_KHO_KEY
	u64 key = first, top = 63;

#pragma unroll
	for (u32 step = 32; step; step /= 2) {
		if (!(key >> (64 - step))) {
			key <<= step;
			top -= step;
		}
	}
	order = 64 - TK_PAGE_SHIFT - top;
	first = (first ^ 1ULL << (top & 63)) << (order & 63);
#endif
	tk_begin(&r, kind);
	r.value[0] = first << TK_PAGE_SHIFT;
	r.value[1] = 1ULL << (TK_PAGE_SHIFT + order & 63);
	tk_send(&r, tk_going_down() != 0);
	return 0;
}

int tk_preserve(struct pt_regs *ctx) { return tk_pages(ctx, TK_KIND_KHO_PRESERVE); }

int tk_unpreserve(struct pt_regs *ctx) { return tk_pages(ctx, TK_KIND_KHO_UNPRESERVE); }
