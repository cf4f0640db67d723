/* Prints rows of a timeline in their order: each names its kind and the buffer that has it. */
#include "many.h"

#include <stdlib.h>

static int columns_take(struct many *m, PyObject *columns, Py_ssize_t n)
{
	static const Py_ssize_t sizes[4] = {4, 2, 8, 4};
	Py_buffer *b = m->columns;

	if (!PyArg_ParseTuple(columns, "y*y*y*y*", &b[0], &b[1], &b[2], &b[3]))
		return -1;
	m->taken = 1;
	for (int i = 0; i < 4; i++) {
		if (b[i].len != n * sizes[i]) {
			PyErr_SetString(PyExc_ValueError, "columns of unlike lengths");
			return -1;
		}
	}
	return 0;
}

static int programs_take(struct many *m, PyObject *programs)
{
	Py_ssize_t count = PyTuple_Size(programs);

	m->programs = calloc((size_t)count + 1, sizeof(*m->programs));
	if (!m->programs) {
		PyErr_NoMemory();
		return -1;
	}
	for (; m->program_count < count; m->program_count++) {
		PyObject *item = PyTuple_GetItem(programs, m->program_count);
		struct taken *t;

		if (item == Py_None)
			continue;
		t = m->programs[m->program_count] = calloc(1, sizeof(*t));
		if (!t) {
			PyErr_NoMemory();
			return -1;
		}
		if (taken_take(t, item)) {
			m->program_count++; /* this one is to be released, too */
			return -1;
		}
	}
	return 0;
}

static int data_take(struct many *m, PyObject *buffers)
{
	Py_ssize_t count = PyTuple_Size(buffers);

	m->data = calloc((size_t)count + 1, sizeof(*m->data));
	if (!m->data) {
		PyErr_NoMemory();
		return -1;
	}
	for (; m->data_count < count; m->data_count++)
		if (PyObject_GetBuffer(PyTuple_GetItem(buffers, m->data_count),
				       &m->data[m->data_count], PyBUF_SIMPLE))
			return -1;
	return 0;
}

int many_take(struct many *m, PyObject *item, Py_ssize_t n)
{
	PyObject *columns, *programs, *buffers;

	if (!PyArg_ParseTuple(item, "O!O!O!", &PyTuple_Type, &columns, &PyTuple_Type, &programs,
			      &PyTuple_Type, &buffers))
		return -1;
	return columns_take(m, columns, n) || programs_take(m, programs) || data_take(m, buffers)
		       ? -1
		       : 0;
}

void many_release(struct many *m)
{
	for (int i = 0; m->taken && i < 4; i++)
		PyBuffer_Release(&m->columns[i]);
	for (Py_ssize_t i = 0; i < m->data_count; i++)
		PyBuffer_Release(&m->data[i]);
	for (Py_ssize_t i = 0; i < m->program_count; i++) {
		if (m->programs[i])
			taken_release(m->programs[i]);
		free(m->programs[i]);
	}
	free(m->data);
	free(m->programs);
}

struct noted {
	struct misses *misses;
	uint64_t kind;
};

static void note_miss(void *context, uint32_t table, uint64_t key)
{
	const struct noted *n = context;

	misses_note(n->misses, n->kind << 32 | table, key);
}

enum status many_print(const struct many *m, Py_ssize_t row, struct out *out, struct misses *misses)
{
	int32_t kind = ((const int32_t *)m->columns[0].buf)[row];
	uint16_t buffer = ((const uint16_t *)m->columns[1].buf)[row];
	uint64_t offset = ((const uint64_t *)m->columns[2].buf)[row];
	uint32_t length = ((const uint32_t *)m->columns[3].buf)[row];
	const struct taken *t;
	uint64_t size;

	if (kind < 0 || kind >= m->program_count || buffer >= m->data_count)
		return FAILED;
	t = m->programs[kind];
	size = (uint64_t)m->data[buffer].len;
	if (!t || offset > size || length > size - offset)
		return FAILED;
	struct span record = {(const uint8_t *)m->data[buffer].buf + offset, length};

	struct noted noted = {misses, (uint64_t)kind};

	return program_run(&t->program, record, out, note_miss, &noted);
}
