/* Records given by arrays of offsets and lengths, checked once; see records.c. */
#ifndef TRACEKIT_RECORDS_H
#define TRACEKIT_RECORDS_H

#include "native.h"

/* Views on the data and the two arrays: payload offsets (u64) and lengths (u32). */
struct records {
	const uint8_t *data;
	uint64_t size;
	const uint64_t *offsets;
	const uint32_t *lengths;
	Py_ssize_t n;
};

/* Checks that every record lies inside the data; sets ValueError and returns -1 if not. */
int records_check(struct records *r, const Py_buffer *data, const Py_buffer *offsets,
		  const Py_buffer *lengths);

/* Parses (data, offsets, lengths, ...) and runs `body` on the checked records. */
#define WITH_RECORDS(format, body, ...)                                                            \
	Py_buffer data, offsets, lengths;                                                          \
	struct records r;                                                                          \
	PyObject *result = NULL;                                                                   \
	(void)self;                                                                                \
	if (!PyArg_ParseTuple(args, "y*y*y*" format, &data, &offsets, &lengths, __VA_ARGS__))      \
		return NULL;                                                                       \
	if (records_check(&r, &data, &offsets, &lengths) == 0)                                     \
		result = body;                                                                     \
	PyBuffer_Release(&data);                                                                   \
	PyBuffer_Release(&offsets);                                                                \
	PyBuffer_Release(&lengths);                                                                \
	return result;

PyObject *native_gather(PyObject *self, PyObject *args);
PyObject *native_gather_var(PyObject *self, PyObject *args);
PyObject *native_intern(PyObject *self, PyObject *args);
PyObject *native_gaps_counted(PyObject *self, PyObject *args);
PyObject *native_gaps_settled(PyObject *self, PyObject *args);

#endif
