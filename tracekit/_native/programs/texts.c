/* Prints many records with one program: texts one after the other, and where each ends. */
#include "taken.h"

#include <stdlib.h>

struct work {
	struct taken taken;
	struct misses misses;
};

static void note_miss(void *context, uint32_t table, uint64_t key)
{
	misses_note(&((struct work *)context)->misses, table, key);
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
		status[i] = program_run(&w->taken.program, record, out, note_miss, w);
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
	if (ends && status && !misses_begin(&w->misses)) {
		Py_BEGIN_ALLOW_THREADS
		failed = print_all(w, r, ends_at, status_at, &out);
		Py_END_ALLOW_THREADS
		if (failed)
			PyErr_NoMemory();
		else
			result = Py_BuildValue("(Oy#Oy#)", ends, out.text ? out.text : "",
					       (Py_ssize_t)out.used, status,
					       (const char *)w->misses.at,
					       (Py_ssize_t)(w->misses.count *
							    sizeof(*w->misses.at)));
	} else if (!PyErr_Occurred()) {
		PyErr_NoMemory();
	}
	free(out.text);
	free(w->misses.at);
	Py_XDECREF(ends);
	Py_XDECREF(status);
	return result;
}

static PyObject *native_print_records(PyObject *self, PyObject *args)
{
	Py_buffer data, offsets, lengths;
	struct work *w = calloc(1, sizeof(*w));
	PyObject *program, *result = NULL;
	struct records r;

	(void)self;
	if (!w)
		return PyErr_NoMemory();
	if (!PyArg_ParseTuple(args, "(y*y*y*)O", &data, &offsets, &lengths, &program)) {
		free(w);
		return NULL;
	}
	if (!taken_take(&w->taken, program) && !records_check(&r, &data, &offsets, &lengths))
		result = printed(w, &r);
	taken_release(&w->taken);
	free(w);
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
