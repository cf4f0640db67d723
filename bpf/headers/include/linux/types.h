/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of the integer types that BCC's headers and the programs use. */
#ifndef TRACEKIT_LINUX_TYPES_H
#define TRACEKIT_LINUX_TYPES_H

#define NULL ((void *)0)

typedef _Bool bool;
typedef signed char s8, __s8;
typedef unsigned char u8, __u8;
typedef short s16, __s16;
typedef unsigned short u16, __u16, __be16, __le16, __sum16;
typedef int s32, __s32;
typedef unsigned int u32, __u32, __be32, __le32, __wsum;
typedef long long s64, __s64;
typedef unsigned long long u64, __u64, __be64, __le64;
typedef unsigned long long __aligned_u64 __attribute__((aligned(8)));
typedef unsigned long size_t, uintptr_t;

#endif
