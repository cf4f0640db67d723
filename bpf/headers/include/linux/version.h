/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The oldest kernel whose BPF has all that the programs use: bpf_trace_vprintk() is of 5.16. */
#define KERNEL_VERSION(major, minor, patch) ((major) << 16 | (minor) << 8 | (patch))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 16, 0)
