/* Takes programs from Python, and finds keys in their tables. */
#include "taken.h"

#include <stdlib.h>

/* The index of a key, or -1. Those asked for lately are remembered. */
int64_t table_find(const struct table *t, uint64_t key)
{
	uint32_t low = 0, high = t->count, *recent = &t->recent[slot_of(key)];

	if (*recent < high && t->keys[*recent] == key)
		return *recent;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (t->keys[middle] < key)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == t->count || t->keys[low] != key)
		return -1;
	*recent = low;
	return low;
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
	*t = (struct table){b[0].buf, b[1].buf, b[2].buf, (uint32_t)count, NULL};
	if (b[0].len % 8 || count > INT32_MAX || b[1].len != count * 16)
		goto bad;
	for (Py_ssize_t i = 0; i < count; i++) {
		const int64_t *place = t->places + 2 * i;

		if (place[0] < 0 || place[1] < place[0] || place[1] > b[2].len)
			goto bad;
	}
	t->recent = calloc(RECENT, sizeof(*t->recent));
	if (!t->recent) {
		PyErr_NoMemory();
		return -1;
	}
	return 0;
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
		free(t->program.tables[i].recent);
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
	size_t *noted = &m->noted[slot_of(key + table)];
	const struct miss *last = *noted ? &m->at[*noted - 1] : NULL;

	if ((last && last->table == table && last->key == key) || m->count == MOST_MISSES)
		return;
	m->at[m->count++] = (struct miss){table, key};
	*noted = m->count;
}
