/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Included by BCC, which declares BPF's own part itself; the programs use nothing of this one. */
