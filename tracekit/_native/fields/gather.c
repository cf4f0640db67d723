/* Gathers fields of records into contiguous columns. */
#include "../records.h"

#define COPY_LOOP(width)                                                                           \
	for (Py_ssize_t i = 0; i < r->n; i++) {                                                    \
		if ((uint64_t)r->lengths[i] >= end)                                                \
			memcpy(out + i * (width), r->data + r->offsets[i] + at, width);            \
		else {                                                                             \
			memset(out + i * (width), 0, width);                                       \
			shorts++;                                                                  \
		}                                                                                  \
	}

/* Copies `size` bytes at payload offset `at` of every record; zeros where it is too short. */
static Py_ssize_t copy_fixed(const struct records *r, uint64_t at, size_t size, uint8_t *out)
{
	uint64_t end = at + size;
	Py_ssize_t shorts = 0;

	switch (size) { /* constant widths let the compiler make plain moves */
	case 1: COPY_LOOP(1) break;
	case 2: COPY_LOOP(2) break;
	case 4: COPY_LOOP(4) break;
	case 8: COPY_LOOP(8) break;
	default: COPY_LOOP(size) break;
	}
	return shorts;
}

static PyObject *gather(const struct records *r, Py_ssize_t at, Py_ssize_t size)
{
	PyObject *column;
	uint8_t *out;
	Py_ssize_t shorts;

	if (at < 0 || size < 1 || at > 1 << 20 || size > 1 << 20) {
		PyErr_SetString(PyExc_ValueError, "impossible field");
		return NULL;
	}
	if (r->n > PY_SSIZE_T_MAX / size)
		return PyErr_NoMemory();
	column = new_bytes(r->n * size, &out);
	if (!column)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	shorts = copy_fixed(r, (uint64_t)at, (size_t)size, out);
	Py_END_ALLOW_THREADS
	return Py_BuildValue("(Nn)", column, shorts);
}

enum { DATA_LOC, REL_LOC, FLEXIBLE, FIXED };

/* A field of varying size: see columns.pyi. */
struct varying {
	int mode, cstring;
	uint64_t at, size, unit;
};

/* Where a variable field's bytes lie in a record, or -1 if it reaches beyond the record. */
static int64_t locate(const uint8_t *p, uint64_t length, const struct varying *f, uint64_t *start)
{
	uint64_t at = f->at;
	int mode = f->mode;

	uint64_t from = at, count;

	if (mode == DATA_LOC || mode == REL_LOC) {
		if (at + 4 > length)
			return -1;
		uint32_t loc = load32(p + at);
		from = (loc & 0xffff) + (mode == REL_LOC ? at + 4 : 0);
		count = loc >> 16;
	} else if (mode == FLEXIBLE) {
		count = at <= length ? length - at : 0;
	} else {
		count = f->size;
	}
	if (from > length || count > length - from)
		return -1;
	*start = from;
	if (f->cstring) {
		const uint8_t *nul = memchr(p + from, 0, count);
		if (nul)
			count = (uint64_t)(nul - (p + from));
	}
	return (int64_t)(count - count % f->unit); /* drop the record's padding to four bytes */
}

static PyObject *gather_var(const struct records *r, const struct varying *f)
{
	PyObject *offsets, *values = NULL;
	int64_t *ends;
	uint8_t *out;
	int64_t total = 0;
	Py_ssize_t bad = 0;

	if (f->at > 1 << 20 || f->size > 1 << 20 || f->mode < 0 || f->mode > FIXED || f->unit < 1 ||
	    f->unit > 8) {
		PyErr_SetString(PyExc_ValueError, "impossible field");
		return NULL;
	}
	offsets = new_bytes((r->n + 1) * 8, &ends);
	if (!offsets)
		return NULL;
	ends[0] = 0;
	Py_BEGIN_ALLOW_THREADS
	for (Py_ssize_t i = 0; i < r->n; i++) {
		uint64_t start;
		int64_t count = locate(r->data + r->offsets[i], r->lengths[i], f, &start);
		if (count < 0) {
			bad++;
			count = 0;
		}
		total += count;
		ends[i + 1] = total / (int64_t)f->unit;
	}
	Py_END_ALLOW_THREADS
	values = new_bytes((Py_ssize_t)total, &out);
	if (!values) {
		Py_DECREF(offsets);
		return NULL;
	}
	Py_BEGIN_ALLOW_THREADS
	for (Py_ssize_t i = 0; i < r->n; i++) {
		uint64_t start;
		const uint8_t *p = r->data + r->offsets[i];
		int64_t count = locate(p, r->lengths[i], f, &start);
		if (count > 0)
			memcpy(out + ends[i] * (int64_t)f->unit, p + start, (size_t)count);
	}
	Py_END_ALLOW_THREADS
	return Py_BuildValue("(NNn)", offsets, values, bad);
}

PyObject *native_gather(PyObject *self, PyObject *args)
{
	Py_ssize_t at, size;
	WITH_RECORDS("nn", gather(&r, at, size), &at, &size)
}

PyObject *native_gather_var(PyObject *self, PyObject *args)
{
	struct varying f;
	unsigned long long at, size, unit;
	WITH_RECORDS("iKKpK", (f.at = at, f.size = size, f.unit = unit, gather_var(&r, &f)),
		     &f.mode, &at, &size, &f.cstring, &unit)
}
