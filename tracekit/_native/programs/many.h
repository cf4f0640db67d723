/* Records of many kinds in many buffers, each printed by the program of its kind. */
#ifndef TRACEKIT_MANY_H
#define TRACEKIT_MANY_H

#include "taken.h"

struct many {
	Py_buffer columns[4]; /* kind i32, buffer u16, offset u64, length u32 */
	Py_buffer *data;
	struct taken **programs; /* NULL: no program */
	Py_ssize_t data_count, program_count;
	int taken;
};

/* Takes (columns, programs or None, buffers) of `n` rows; -1 with an error set. */
int many_take(struct many *m, PyObject *item, Py_ssize_t n);
void many_release(struct many *m);
/* Prints a row; what it printed stays if it failed. A miss's table has the kind above 32 bits. */
enum status many_print(const struct many *m, Py_ssize_t row, struct out *out,
		       struct misses *misses);

#endif
