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

/* memcpy() of what is mostly short, without a call. */
static inline void copy_text(char *to, const char *from, size_t size)
{
	if (size > 32) {
		memcpy(to, from, size);
	} else if (size >= 16) {
		memcpy(to, from, 16);
		memcpy(to + size - 16, from + size - 16, 16);
	} else if (size >= 8) {
		memcpy(to, from, 8);
		memcpy(to + size - 8, from + size - 8, 8);
	} else if (size >= 4) {
		memcpy(to, from, 4);
		memcpy(to + size - 4, from + size - 4, 4);
	} else if (size) {
		to[0] = from[0];
		to[size / 2] = from[size / 2];
		to[size - 1] = from[size - 1];
	}
}

/* Writes a number to end at `end`, 20 digits at most; returns where it begins. */
static inline char *decimal_before(char *end, uint64_t value)
{
	static const char pairs[] = "0001020304050607080910111213141516171819"
				    "2021222324252627282930313233343536373839"
				    "4041424344454647484950515253545556575859"
				    "6061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	uint32_t rest;

	for (; value > UINT32_MAX; value /= 100000000) {
		rest = (uint32_t)(value % 100000000);
		for (int i = 0; i < 4; i++, rest /= 100)
			memcpy(end -= 2, pairs + 2 * (rest % 100), 2);
	}
	for (rest = (uint32_t)value; rest >= 100; rest /= 100)
		memcpy(end -= 2, pairs + 2 * (rest % 100), 2);
	if (rest >= 10)
		memcpy(end -= 2, pairs + 2 * rest, 2);
	else
		*--end = (char)('0' + rest);
	return end;
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
