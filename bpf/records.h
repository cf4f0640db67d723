/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the BPF programs and user space share.
 *
 * struct tk_record is what one probe hit leaves behind: 144 bytes, little-endian, the same in the
 * BPF ring buffer and in boots/N/bpf.bin; RECORD of tracekit/probes/records.py. struct tk_function
 * says what to record of a function; tracekit/probes/loader.py fills it in from BTF.
 */
#ifndef TRACEKIT_RECORDS_H
#define TRACEKIT_RECORDS_H

#include <linux/types.h>

#define TK_RETURN 0x8000 /* in kind: the function returned, duration_ns is its time */

struct tk_record {
	__u64 ns; /* CLOCK_MONOTONIC */
	__u64 duration_ns;
	__u64 value[4]; /* what they mean depends on kind */
	__u32 seq;	/* counts the records of this CPU */
	__u32 pid;	/* of the thread */
	__u16 cpu;
	__u16 kind;
	__u32 zero;
	char comm[16];
	char name[40];
	char driver[24];
};

/* How one value is come by. */
struct tk_source {
	__u8 argument; /* counted from 1; 0: there is no such value */
	__u8 bytes;    /* 0: the argument itself, else so many bytes of what it points to */
	__u8 entry;    /* argument whose value times stride is added; 0: none */
	__u8 is_int;   /* sign-extend from 32 bits */
	__s32 offset;
	__u32 stride;
};

#define TK_RETURNS_INT 1  /* value[0] of the return is an int */
#define TK_PERSIST 2	  /* always print it into the trace instance as well */
#define TK_PERSIST_DOWN 4 /* only once the kernel is on its way down */
#define TK_DOWN 8	  /* the kernel is on its way down until this returns */
#define TK_ONLY_DOWN 16	  /* not recorded but on the way down, by the task that runs it */

struct tk_function {
	__u16 kind;
	__u16 flags;
	struct tk_source value[4];
	struct tk_source name; /* bytes: 8 for a pointer to the text, 1 for the text itself */
};

#endif
