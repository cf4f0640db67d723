/* Shared by the native modules: little-endian loads, output buffers, module definitions.
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

static inline uint16_t load16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, 2);
	return v;
}
static inline uint32_t load32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return v;
}
static inline int32_t load32s(const uint8_t *p)
{
	int32_t v;
	memcpy(&v, p, 4);
	return v;
}
static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}

/* An uninitialised bytes object of `size` bytes; *out points to its storage. */
static inline PyObject *new_bytes(Py_ssize_t size, void *out)
{
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);

	if (bytes)
		*(char **)out = PyBytes_AsString(bytes);
	return bytes;
}

/* Defines a file as a module: its methods, and the function that Python calls to load it. */
#define NATIVE_MODULE(name, about, ...)                                                            \
	static PyMethodDef methods[] = {__VA_ARGS__, {NULL, NULL, 0, NULL}};                       \
	static struct PyModuleDef module = {                                                       \
		.m_base = PyModuleDef_HEAD_INIT,                                                   \
		.m_name = "tracekit._native." #name,                                               \
		.m_doc = about,                                                                    \
		.m_methods = methods,                                                              \
	};                                                                                         \
	PyMODINIT_FUNC PyInit_##name(void) { return PyModuleDef_Init(&module); }

#endif
