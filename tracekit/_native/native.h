/* Shared by the native loops: bounds-checked little-endian loads, and output buffers.
 *
 * Nothing here trusts the data: every load is preceded by a check against the end of the
 * sub-buffer or of the record that holds it.
 */
#ifndef TRACEKIT_NATIVE_H
#define TRACEKIT_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the ring buffer is read as it lies in memory: little-endian machines only"
#endif

static inline uint16_t load16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t load32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline int32_t load32s(const uint8_t *p) { int32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t load64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }

/* Views on the two arrays that name records: payload offsets (u64) and lengths (u32). */
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

/* An uninitialised bytes object of `size` bytes; its storage in *out. */
PyObject *new_bytes(Py_ssize_t size, void *out);

PyObject *native_walk(PyObject *self, PyObject *args);
PyObject *native_gather(PyObject *self, PyObject *args);
PyObject *native_gather_var(PyObject *self, PyObject *args);
PyObject *native_intern(PyObject *self, PyObject *args);
PyObject *native_symbols(PyObject *self, PyObject *args);
PyObject *native_lines(PyObject *self, PyObject *args);
PyObject *native_counter_sample(PyObject *self, PyObject *args);
PyObject *native_counter_write(PyObject *self, PyObject *args);

#endif
