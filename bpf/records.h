/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one probe hit leaves behind: 144 bytes, little-endian, the same in the BPF ring buffer
 * and in boots/N/bpf.bin. tracekit/probes/records.py has the same layout as RECORD.
 */
#ifndef TRACEKIT_RECORDS_H
#define TRACEKIT_RECORDS_H

#include <linux/types.h>

#define TK_RETURN 0x8000	/* in kind: the function returned, duration_ns is its time */

struct tk_record {
	__u64 ns;		/* CLOCK_MONOTONIC */
	__u64 duration_ns;
	__u64 value[4];		/* what they mean depends on kind */
	__u32 seq;		/* counts the records of this CPU */
	__u32 pid;		/* of the thread */
	__u16 cpu;
	__u16 kind;
	__u32 zero;
	char comm[16];
	char name[40];
	char driver[24];
};

#endif
