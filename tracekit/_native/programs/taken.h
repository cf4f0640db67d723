/* A program as Python gives it: (instructions, constants, texts, need, tables). */
#ifndef TRACEKIT_TAKEN_H
#define TRACEKIT_TAKEN_H

#include "program.h"

struct taken {
	struct program program;
	Py_buffer code, constants, texts, (*columns)[3];
	uint32_t columns_taken;
};

enum { MOST_MISSES = 1 << 14, NOTED = 1 << 10 };

/* Keys that tables lacked, each once if there are few. */
struct misses {
	struct miss *at;
	size_t count, noted[NOTED]; /* 1 + where a key is, perhaps */
};

/* Takes and verifies a program; -1 with an error set. To be released in any case. */
int taken_take(struct taken *t, PyObject *item);
void taken_release(struct taken *t);
/* -1 if there is no memory for them */
int misses_begin(struct misses *m);
void misses_note(struct misses *m, uint64_t table, uint64_t key);

#endif
