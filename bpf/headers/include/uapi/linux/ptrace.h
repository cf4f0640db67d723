/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers that a probed function had, in the order of the kernel's ABI
 * (arch/x86/include/uapi/asm/ptrace.h, arch/arm64/include/uapi/asm/ptrace.h).
 */
#ifndef TRACEKIT_UAPI_LINUX_PTRACE_H
#define TRACEKIT_UAPI_LINUX_PTRACE_H

#if defined(__x86_64__)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__aarch64__)
struct pt_regs {
	unsigned long regs[31], sp, pc, pstate;
};
#else
#error "the registers of this architecture are not described here"
#endif

#endif
