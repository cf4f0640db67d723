/* Takes programs from Python, and finds keys in their tables. */
#include "taken.h"

#include <stdlib.h>

enum { PROBES = 8 }; /* slots where a key may be; one that found none is searched for */

/* A number for a key; its lower bits are used. Not so large that a place behind it would not be. */
static uint32_t hash_of(uint64_t key) { return (uint32_t)(key * 0x9E3779B97F4A7C15ULL >> 33); }

/* The index of a key among those that are sorted, or -1. */
static int64_t search(const struct table *t, uint64_t key)
{
	uint32_t low = 0, high = t->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (t->keys[middle] < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low < t->count && t->keys[low] == key ? (int64_t)low : -1;
}

/* The index of a key, or -1. Keys come from records: some may have been chosen to share a place. */
int64_t table_find(const struct table *t, uint64_t key)
{
	uint32_t first = hash_of(key);

	for (uint32_t i = first; i < first + PROBES; i++) {
		uint32_t at = t->slots[i & t->mask];

		if (!at)
			return -1;
		if (t->keys[at - 1] == key)
			return at - 1;
	}
	return search(t, key);
}

/* Half of the slots stay empty, or more; -1 if there is no memory for them. */
static int table_index(struct table *t)
{
	uint32_t size = PROBES;

	while (size / 2 < t->count)
		size *= 2;
	t->slots = calloc(size, sizeof(*t->slots));
	if (!t->slots)
		return -1;
	t->mask = size - 1;
	for (uint32_t at = 0; at < t->count; at++) {
		uint32_t first = hash_of(t->keys[at]), i = first;

		while (i < first + PROBES && t->slots[i & t->mask])
			i++;
		if (i < first + PROBES)
			t->slots[i & t->mask] = at + 1;
	}
	return 0;
}

static int table_take(struct taken *w, PyObject *item)
{
	Py_buffer *b = w->columns[w->columns_taken];
	struct table *t = &w->program.tables[w->columns_taken];
	Py_ssize_t count;

	if (!PyTuple_Check(item)) {
		PyErr_SetString(PyExc_TypeError, "a table is a tuple");
		return -1;
	}
	if (!PyArg_ParseTuple(item, "y*y*y*", &b[0], &b[1], &b[2]))
		return -1;
	w->columns_taken++;
	count = b[0].len / 8;
	*t = (struct table){b[0].buf, b[1].buf, b[2].buf, (uint32_t)count, 0, NULL};
	if (b[0].len % 8 || count > MAX_KEYS || b[1].len != count * 16)
		goto bad;
	for (Py_ssize_t i = 0; i < count; i++) {
		const int64_t *place = t->places + 2 * i;

		if (place[0] < 0 || place[1] < place[0] || place[1] > b[2].len)
			goto bad;
	}
	if (!table_index(t))
		return 0;
	PyErr_NoMemory();
	return -1;
bad:
	PyErr_SetString(PyExc_ValueError, "a table whose columns do not fit each other");
	return -1;
}

int taken_take(struct taken *w, PyObject *item)
{
	struct program *p = &w->program;
	PyObject *tables;
	unsigned int need;
	Py_ssize_t count;
	const char *wrong;

	if (!PyTuple_Check(item)) {
		PyErr_SetString(PyExc_TypeError, "a program is a tuple");
		return -1;
	}
	if (!PyArg_ParseTuple(item, "y*y*y*IO!", &w->code, &w->constants, &w->texts, &need,
			      &PyTuple_Type, &tables))
		return -1;
	count = PyTuple_Size(tables);
	if (w->code.len % (Py_ssize_t)sizeof(struct insn) || w->constants.len % 8 ||
	    w->code.len > INT32_MAX || w->texts.len > INT32_MAX || w->constants.len > INT32_MAX ||
	    count > MAX_TABLES) {
		PyErr_SetString(PyExc_ValueError, "no program");
		return -1;
	}
	w->columns = calloc((size_t)count + 1, sizeof(*w->columns));
	if (!w->columns) {
		PyErr_NoMemory();
		return -1;
	}
	for (Py_ssize_t i = 0; i < count; i++)
		if (table_take(w, PyTuple_GetItem(tables, i)))
			return -1;
	p->code = w->code.buf;
	p->size = (uint32_t)(w->code.len / (Py_ssize_t)sizeof(struct insn));
	p->constants = w->constants.buf;
	p->constant_count = (uint32_t)(w->constants.len / 8);
	p->texts = w->texts.buf;
	p->text_size = (uint32_t)w->texts.len;
	p->table_count = (uint32_t)count;
	p->need = need;
	wrong = program_wrong(p);
	if (!wrong)
		return 0;
	PyErr_Format(PyExc_ValueError, "no program: %s", wrong);
	return -1;
}

void taken_release(struct taken *t)
{
	for (uint32_t i = 0; i < t->columns_taken; i++) {
		free(t->program.tables[i].slots);
		for (int column = 0; column < 3; column++)
			PyBuffer_Release(&t->columns[i][column]);
	}
	free(t->columns);
	PyBuffer_Release(&t->code);
	PyBuffer_Release(&t->constants);
	PyBuffer_Release(&t->texts);
}

int misses_begin(struct misses *m)
{
	m->at = malloc(MOST_MISSES * sizeof(*m->at));
	return m->at ? 0 : -1;
}

void misses_note(struct misses *m, uint64_t table, uint64_t key)
{
	size_t *noted = &m->noted[hash_of(key + table) % NOTED];
	const struct miss *last = *noted ? &m->at[*noted - 1] : NULL;

	if ((last && last->table == table && last->key == key) || m->count == MOST_MISSES)
		return;
	m->at[m->count++] = (struct miss){table, key};
	*noted = m->count;
}
