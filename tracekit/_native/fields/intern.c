/* Finds equal payloads: each gets the code of the first one equal to it. */
#include "../records.h"

#include <stdlib.h>

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
struct slot {
	int64_t code;
	uint64_t hash;
}; /* code: 1-based, 0 means free */
struct table {
	struct slot *slots;
	uint64_t room;
};

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

struct payload {
	const uint8_t *bytes;
	uint64_t size;
};

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

PyObject *native_intern(PyObject *self, PyObject *args)
{
	Py_ssize_t skip;
	unsigned long long seed;
	WITH_RECORDS("nK", intern_records(&r, skip, seed), &skip, &seed)
}
