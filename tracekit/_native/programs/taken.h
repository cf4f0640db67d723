/* A program as Python gives it: (instructions, constants, texts, need, tables). */
#ifndef TRACEKIT_TAKEN_H
#define TRACEKIT_TAKEN_H

#include "program.h"

enum { RECENT = 1 << 10 }; /* keys that a table remembers where it has them */

struct taken {
	struct program program;
	Py_buffer code, constants, texts, (*columns)[3];
	uint32_t columns_taken;
};

/* Where a key is remembered. */
static inline uint32_t slot_of(uint64_t key)
{
	return (uint32_t)(key * 0x9E3779B97F4A7C15ULL >> 32) % RECENT;
}

/* Keys that tables lacked, each once if there are few. */
struct misses {
	struct miss *at;
	size_t count, noted[RECENT]; /* 1 + where a key is, perhaps */
};

enum { MOST_MISSES = 1 << 14 };

/* Takes and verifies a program; -1 with an error set. To be released in any case. */
int taken_take(struct taken *t, PyObject *item);
void taken_release(struct taken *t);
/* -1 if there is no memory for them */
int misses_begin(struct misses *m);
void misses_note(struct misses *m, uint64_t table, uint64_t key);

#endif
