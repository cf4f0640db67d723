/* Prints many records with one program: texts one after the other, and where each ends. */
#include "program.h"

#include <stdlib.h>

enum { MOST_MISSES = 1 << 14, RECENT = 1 << 10 };

struct work {
	struct program program;
	Py_buffer code, constants, texts, columns[MAX_TABLES][3];
	uint32_t columns_taken;
	struct miss *misses;
	size_t miss_count, noted[RECENT];
};

static uint32_t slot_of(uint64_t key)
{
	return (uint32_t)(key * 0x9E3779B97F4A7C15ULL >> 32) % RECENT;
}

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

static void note_miss(void *context, uint32_t table, uint64_t key)
{
	struct work *w = context;

	size_t *noted = &w->noted[slot_of(key + table)]; /* 1 + where that key is, perhaps */
	const struct miss *last = *noted ? &w->misses[*noted - 1] : NULL;

	if ((last && last->table == table && last->key == key) || w->miss_count == MOST_MISSES)
		return;
	w->misses[w->miss_count++] = (struct miss){table, key};
	*noted = w->miss_count;
}

static int table_take(struct work *w, PyObject *item)
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

static int program_take(struct work *w, PyObject *tables, unsigned int need)
{
	struct program *p = &w->program;
	Py_ssize_t count = PyTuple_Size(tables);
	const char *wrong;

	if (w->code.len % (Py_ssize_t)sizeof(struct insn) || w->constants.len % 8 ||
	    w->code.len > INT32_MAX || w->texts.len > INT32_MAX || w->constants.len > INT32_MAX ||
	    count > MAX_TABLES) {
		PyErr_SetString(PyExc_ValueError, "no program");
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

/* Prints all records; returns -1 if there is no memory for the texts. */
static int print_all(struct work *w, const struct records *r, int64_t *ends, uint8_t *status,
		     struct out *out)
{
	size_t size = 0;

	ends[0] = 0;
	for (Py_ssize_t i = 0; i < r->n; i++) {
		size_t begin = out->used;
		struct span record = {r->data + r->offsets[i], r->lengths[i]};

		if (size - begin < MAX_TEXT) {
			char *more = realloc(out->text, size = 2 * size + MAX_TEXT);

			if (!more)
				return -1;
			out->text = more;
		}
		out->end = begin + MAX_TEXT;
		status[i] = program_run(&w->program, record, out, note_miss, w);
		if (status[i] != PRINTED)
			out->used = begin;
		ends[i + 1] = (int64_t)out->used;
	}
	return 0;
}

static PyObject *printed(struct work *w, const struct records *r)
{
	PyObject *ends, *status, *result = NULL;
	struct out out = {0};
	int64_t *ends_at;
	uint8_t *status_at;
	int failed;

	ends = new_bytes((r->n + 1) * 8, &ends_at);
	status = new_bytes(r->n, &status_at);
	w->misses = malloc(MOST_MISSES * sizeof(*w->misses));
	if (ends && status && w->misses) {
		Py_BEGIN_ALLOW_THREADS
		failed = print_all(w, r, ends_at, status_at, &out);
		Py_END_ALLOW_THREADS
		if (failed)
			PyErr_NoMemory();
		else
			result =
				Py_BuildValue("(Oy#Oy#)", ends, out.text ? out.text : "",
					      (Py_ssize_t)out.used, status, (const char *)w->misses,
					      (Py_ssize_t)(w->miss_count * sizeof(*w->misses)));
	} else if (!PyErr_Occurred()) {
		PyErr_NoMemory();
	}
	free(out.text);
	free(w->misses);
	Py_XDECREF(ends);
	Py_XDECREF(status);
	return result;
}

static void release(struct work *w)
{
	for (uint32_t i = 0; i < w->columns_taken; i++) {
		free(w->program.tables[i].recent);
		for (int column = 0; column < 3; column++)
			PyBuffer_Release(&w->columns[i][column]);
	}
	PyBuffer_Release(&w->code);
	PyBuffer_Release(&w->constants);
	PyBuffer_Release(&w->texts);
	free(w);
}

static PyObject *native_print_records(PyObject *self, PyObject *args)
{
	Py_buffer data, offsets, lengths;
	struct work *w = calloc(1, sizeof(*w));
	PyObject *tables, *result = NULL;
	struct records r;
	unsigned int need;

	(void)self;
	if (!w)
		return PyErr_NoMemory();
	if (!PyArg_ParseTuple(args, "(y*y*y*)(y*y*y*IO!)", &data, &offsets, &lengths, &w->code,
			      &w->constants, &w->texts, &need, &PyTuple_Type, &tables)) {
		free(w);
		return NULL;
	}
	if (!program_take(w, tables, need) && !records_check(&r, &data, &offsets, &lengths))
		result = printed(w, &r);
	release(w);
	PyBuffer_Release(&data);
	PyBuffer_Release(&offsets);
	PyBuffer_Release(&lengths);
	return result;
}

#define NAME(name, ...) #name,
static const char *const operations[] = {OPERATIONS(NAME) NULL};
static const char *const binaries[] = {BINARY_OPERATIONS(NAME) NULL};
static const char *const unaries[] = {UNARY_OPERATIONS(NAME) NULL};
static const char *const pointers[] = {POINTER_KINDS(NAME) NULL};

static PyObject *numbered(const char *const *names)
{
	PyObject *numbers = PyDict_New();

	for (long i = 0; numbers && names[i]; i++) {
		PyObject *number = PyLong_FromLong(i);

		if (!number || PyDict_SetItemString(numbers, names[i], number))
			Py_CLEAR(numbers);
		Py_XDECREF(number);
	}
	return numbers;
}

static PyObject *native_numbers(PyObject *self, PyObject *args)
{
	(void)self;
	(void)args;
	return Py_BuildValue("NNNN", numbered(operations), numbered(binaries), numbered(unaries),
			     numbered(pointers));
}

NATIVE_MODULE(texts, "Records printed by programs.",
	      {"print_records", native_print_records, METH_VARARGS,
	       "print_records(payloads, program) -> texts"},
	      {"numbers", native_numbers, METH_NOARGS, "numbers() -> operations and others"})
