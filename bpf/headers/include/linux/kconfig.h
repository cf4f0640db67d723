/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Headers for BCC where a kernel's own are not installed: BCC is told that a kernel's source is
 * two directories above. The programs take no type from the kernel, so only what BCC itself
 * includes must be here. BCC includes this file first, and refuses a kernel without the option.
 */
#define CONFIG_BPF_SYSCALL 1
