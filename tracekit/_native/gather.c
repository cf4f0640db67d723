/* Gathering of fields out of records into contiguous columns, and interning of equal payloads. */
#include "native.h"

#include <stdlib.h>

PyObject *new_bytes(Py_ssize_t size, void *out)
{
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);

	if (bytes)
		*(char **)out = PyBytes_AsString(bytes);
	return bytes;
}

int records_check(struct records *r, const Py_buffer *data, const Py_buffer *offsets,
		  const Py_buffer *lengths)
{
	r->data = data->buf;
	r->size = (uint64_t)data->len;
	r->offsets = offsets->buf;
	r->lengths = lengths->buf;
	r->n = offsets->len / 8;
	if (offsets->len % 8 || lengths->len != r->n * 4) {
		PyErr_SetString(PyExc_ValueError, "offsets must be u64 and lengths u32, as many");
		return -1;
	}
	for (Py_ssize_t i = 0; i < r->n; i++) {
		if (r->offsets[i] > r->size || r->lengths[i] > r->size - r->offsets[i]) {
			PyErr_SetString(PyExc_ValueError, "a record lies outside the data");
			return -1;
		}
	}
	return 0;
}

#define COPY_LOOP(width)                                                                       \
	for (Py_ssize_t i = 0; i < r->n; i++) {                                                \
		if ((uint64_t)r->lengths[i] >= end)                                            \
			memcpy(out + i * (width), r->data + r->offsets[i] + at, width);        \
		else {                                                                         \
			memset(out + i * (width), 0, width);                                   \
			shorts++;                                                              \
		}                                                                              \
	}

/* Copies `size` bytes at payload offset `at` of every record; too short a record gives zeros. */
static Py_ssize_t copy_fixed(const struct records *r, uint64_t at, size_t size, uint8_t *out)
{
	uint64_t end = at + size;
	Py_ssize_t shorts = 0;

	switch (size) {			/* constant widths let the compiler make plain moves */
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

/* A field of varying size: see _walk.pyi. */
struct varying { int mode, cstring; uint64_t at, size, unit; };

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
	return (int64_t)(count - count % f->unit);	/* a record is padded to four bytes */
}

static PyObject *gather_var(const struct records *r, const struct varying *f)
{
	PyObject *offsets, *values = NULL;
	int64_t *ends;
	uint8_t *out;
	int64_t total = 0;
	Py_ssize_t bad = 0;

	if (f->at > 1 << 20 || f->size > 1 << 20 || f->mode < 0 || f->mode > FIXED ||
	    f->unit < 1 || f->unit > 8) {
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

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9E3779B97F4A7C15ULL;
	return h ^ (h >> 29);
}

static uint64_t hash_bytes(const uint8_t *p, uint64_t n, uint64_t seed)
{
	uint64_t h = mix(seed, n);

	for (; n >= 8; p += 8, n -= 8)
		h = mix(h, load64(p));
	if (n) {
		uint64_t last = 0;
		memcpy(&last, p, n);
		h = mix(h, last);
	}
	return mix(h, h >> 32);
}

/* A hash table of distinct payloads that grows with them, not with the records. */
struct slot { int64_t code; uint64_t hash; };	/* code: 1-based, 0 means free */
struct table { struct slot *slots; uint64_t room; };

static int table_grow(struct table *t)
{
	struct table bigger = {.room = t->room ? t->room * 4 : 4096};

	bigger.slots = calloc(bigger.room, sizeof(struct slot));
	if (!bigger.slots)
		return -1;
	for (uint64_t i = 0; i < t->room; i++) {
		uint64_t at = t->slots[i].hash & (bigger.room - 1);
		if (!t->slots[i].code)
			continue;
		while (bigger.slots[at].code)
			at = (at + 1) & (bigger.room - 1);
		bigger.slots[at] = t->slots[i];
	}
	free(t->slots);
	*t = bigger;
	return 0;
}

struct payload { const uint8_t *bytes; uint64_t size; };

static struct payload payload_of(const struct records *r, Py_ssize_t i, uint64_t skip)
{
	uint64_t from = skip < r->lengths[i] ? skip : r->lengths[i];

	return (struct payload){r->data + r->offsets[i] + from, r->lengths[i] - from};
}

/* The slot that holds a payload equal to `p`, or the free slot where it belongs. */
static struct slot *table_find(const struct table *t, const struct records *r, uint64_t skip,
			       struct payload p, uint64_t hash, const int64_t *firsts)
{
	uint64_t mask = t->room - 1, at = hash & mask;

	for (;; at = (at + 1) & mask) {
		struct slot *s = &t->slots[at];
		if (!s->code)
			return s;
		if (s->hash != hash)
			continue;
		struct payload q = payload_of(r, firsts[s->code - 1], skip);
		if (q.size == p.size && !memcmp(q.bytes, p.bytes, p.size))
			return s;
	}
}

/*
 * Gives equal payloads (from byte `skip` on) equal codes, numbered in order of first appearance.
 * Returns the number of distinct payloads, or -1 when out of memory.
 */
static int64_t intern(const struct records *r, uint64_t skip, uint64_t seed, int32_t *codes,
		      int64_t *firsts)
{
	struct table t = {0};
	int64_t distinct = 0;

	for (Py_ssize_t i = 0; i < r->n; i++) {
		struct payload p = payload_of(r, i, skip);
		uint64_t hash = hash_bytes(p.bytes, p.size, seed);

		if ((uint64_t)distinct * 2 >= t.room && table_grow(&t)) {
			distinct = -1;
			break;
		}
		struct slot *s = table_find(&t, r, skip, p, hash, firsts);
		if (!s->code) {
			firsts[distinct++] = i;
			*s = (struct slot){distinct, hash};
		}
		codes[i] = (int32_t)(s->code - 1);
	}
	free(t.slots);
	return distinct;
}

static PyObject *intern_records(const struct records *r, Py_ssize_t skip, uint64_t seed)
{
	PyObject *codes, *firsts, *result = NULL;
	int32_t *code;
	int64_t *first, distinct;

	if (skip < 0 || r->n >= INT32_MAX) {
		PyErr_SetString(PyExc_ValueError, "too many records for one column");
		return NULL;
	}
	codes = new_bytes(r->n * 4, &code);
	firsts = new_bytes(r->n * 8, &first);
	if (codes && firsts) {
		Py_BEGIN_ALLOW_THREADS
		distinct = intern(r, (uint64_t)skip, seed, code, first);
		Py_END_ALLOW_THREADS
		if (distinct < 0)
			PyErr_NoMemory();
		else
			result = Py_BuildValue("(Oy#)", codes, (char *)first,
					       (Py_ssize_t)(distinct * 8));
	}
	Py_XDECREF(codes);
	Py_XDECREF(firsts);
	return result;
}

/* Parses (data, offsets, lengths, ...) and runs `body` over the checked records. */
#define WITH_RECORDS(format, body, ...)                                                        \
	Py_buffer data, offsets, lengths;                                                      \
	struct records r;                                                                      \
	PyObject *result = NULL;                                                               \
	(void)self;                                                                            \
	if (!PyArg_ParseTuple(args, "y*y*y*" format, &data, &offsets, &lengths, __VA_ARGS__))  \
		return NULL;                                                                   \
	if (records_check(&r, &data, &offsets, &lengths) == 0)                                 \
		result = body;                                                                 \
	PyBuffer_Release(&data);                                                               \
	PyBuffer_Release(&offsets);                                                            \
	PyBuffer_Release(&lengths);                                                            \
	return result;

PyObject *native_gather(PyObject *self, PyObject *args)
{
	Py_ssize_t at, size;
	WITH_RECORDS("nn", gather(&r, at, size), &at, &size)
}

PyObject *native_gather_var(PyObject *self, PyObject *args)
{
	struct varying f;
	unsigned long long at, size, unit;
	WITH_RECORDS("iKKpK",
		     (f.at = at, f.size = size, f.unit = unit, gather_var(&r, &f)),
		     &f.mode, &at, &size, &f.cstring, &unit)
}

PyObject *native_intern(PyObject *self, PyObject *args)
{
	Py_ssize_t skip;
	unsigned long long seed;
	WITH_RECORDS("nK", intern_records(&r, skip, seed), &skip, &seed)
}
