/* Writes columns as lines of text: a head, a time and a tail for every row.
 *
 * Head and tail are dictionary columns: a code for every row, and a few texts. The time is written
 * as trace_print_time() in kernel/trace/trace_output.c does, or as signed seconds with nine digits.
 */
#include "native.h"

#include <stdlib.h>

enum { KERNEL_SECONDS, KERNEL_COUNT, SIGNED_SECONDS };
#define TIME_MAX 32

struct texts {
	const int32_t *codes;
	const int64_t *ends; /* where text i begins; the last is the end of all */
	const char *values;
	Py_ssize_t count;
};

/* Decimal digits, at least `least` of them, with `fill` before; returns where they end. */
static char *write_digits(char *out, uint64_t value, int least, char fill)
{
	char digits[TIME_MAX], *p = digits + sizeof(digits);
	size_t size;

	do
		*--p = (char)('0' + value % 10);
	while (value /= 10);
	while (digits + sizeof(digits) - p < least)
		*--p = fill;
	size = (size_t)(digits + sizeof(digits) - p);
	memcpy(out, p, size);
	return out + size;
}

static int write_time(char *out, uint64_t ts, int mode)
{
	char *end;

	if (mode == KERNEL_COUNT) {
		end = write_digits(out, ts, 12, ' ');
	} else if (mode == KERNEL_SECONDS) {
		uint64_t us = ts / 1000 + (ts % 1000 >= 500);

		end = write_digits(out, us / 1000000, 5, ' ');
		*end++ = '.';
		end = write_digits(end, us % 1000000, 6, '0');
	} else {
		int negative = (int64_t)ts < 0;
		uint64_t ns = negative ? 0 - ts : ts, seconds = ns / 1000000000;
		int digits = 1;

		for (uint64_t more = seconds; more >= 10; more /= 10)
			digits++;
		end = out;
		for (; end - out < 4 - digits; end++)
			*end = ' ';
		*end++ = negative ? '-' : '+';
		end = write_digits(end, seconds, 1, ' ');
		*end++ = '.';
		end = write_digits(end, ns % 1000000000, 9, '0');
	}
	return (int)(end - out);
}

static size_t put(char *out, const struct texts *t, Py_ssize_t row)
{
	int64_t from = t->ends[t->codes[row]];
	size_t size = (size_t)(t->ends[t->codes[row] + 1] - from);

	memcpy(out, t->values + from, size);
	return size;
}

/* Checks codes and ends; returns the size of all rows' texts, or -1 with an error set. */
static int64_t texts_check(const struct texts *t, Py_ssize_t n, Py_ssize_t size)
{
	int64_t total = 0;

	for (Py_ssize_t i = 0; i < t->count; i++) {
		if (t->ends[i] < 0 || t->ends[i + 1] < t->ends[i] || t->ends[i + 1] > size)
			goto bad;
	}
	for (Py_ssize_t i = 0; i < n; i++) {
		if (t->codes[i] < 0 || t->codes[i] >= t->count)
			goto bad;
		total += t->ends[t->codes[i] + 1] - t->ends[t->codes[i]];
	}
	return total;
bad:
	PyErr_SetString(PyExc_ValueError, "a code or an end lies outside the texts");
	return -1;
}

static PyObject *lines(const uint64_t *stamps, Py_ssize_t n, int mode, const struct texts *head,
		       const struct texts *tail, int64_t room)
{
	PyObject *bytes;
	char *start, *out;

	bytes = new_bytes((Py_ssize_t)room, &start);
	if (!bytes)
		return NULL;
	out = start;
	Py_BEGIN_ALLOW_THREADS
	for (Py_ssize_t i = 0; i < n; i++) {
		if (mode != SIGNED_SECONDS)
			out += put(out, head, i);
		out += write_time(out, stamps[i], mode);
		if (mode == SIGNED_SECONDS)
			out += put(out, head, i);
		out += put(out, tail, i);
		*out++ = '\n';
	}
	Py_END_ALLOW_THREADS
	_PyBytes_Resize(&bytes, out - start);
	return bytes;
}

static PyObject *native_lines(PyObject *self, PyObject *args)
{
	Py_buffer b[7]; /* stamps, then codes, ends and values of head and tail */
	struct texts t[2];
	PyObject *result = NULL;
	int64_t room;
	int mode;

	(void)self;
	if (!PyArg_ParseTuple(args, "iy*(y*y*y*)(y*y*y*)", &mode, &b[0], &b[1], &b[2], &b[3], &b[4],
			      &b[5], &b[6]))
		return NULL;
	Py_ssize_t n = b[0].len / 8;
	room = n * (TIME_MAX + 1);
	for (int i = 0; i < 2 && room >= 0; i++) {
		const Py_buffer *codes = &b[1 + 3 * i], *ends = &b[2 + 3 * i],
				*values = &b[3 + 3 * i];
		int64_t size = -1;

		t[i] = (struct texts){codes->buf, ends->buf, values->buf, ends->len / 8 - 1};
		if (mode < 0 || mode > SIGNED_SECONDS || codes->len != n * 4 || t[i].count < 0)
			PyErr_SetString(PyExc_ValueError,
					"columns of unlike lengths, or no such mode");
		else
			size = texts_check(&t[i], n, values->len);
		room = size < 0 ? -1 : room + size;
	}
	if (room >= 0)
		result = lines(b[0].buf, n, mode, &t[0], &t[1], room);
	for (int i = 0; i < 7; i++)
		PyBuffer_Release(&b[i]);
	return result;
}

enum { MOST_PARTS = 16 };

/* What a part of every line is: texts by code, numbers (signed or not), or the same text. */
struct part {
	Py_buffer buffers[3];
	int taken;
	int kind; /* 't', 'i', 'u', 's' */
	struct texts texts;
};

static int64_t part_take(struct part *p, PyObject *item, Py_ssize_t n)
{
	Py_buffer *b = p->buffers;

	if (PyTuple_Check(item) && PyTuple_Size(item) == 3) {
		if (!PyArg_ParseTuple(item, "y*y*y*", &b[0], &b[1], &b[2]))
			return -1;
		p->taken = 3;
		p->kind = 't';
		p->texts = (struct texts){b[0].buf, b[1].buf, b[2].buf, b[1].len / 8 - 1};
		if (b[0].len == n * 4 && p->texts.count >= 0)
			return texts_check(&p->texts, n, b[2].len);
	} else if (PyTuple_Check(item)) {
		if (!PyArg_ParseTuple(item, "Cy*", &p->kind, &b[0]))
			return -1;
		p->taken = 1;
		if (p->kind == 's')
			return n * (int64_t)b[0].len;
		if ((p->kind == 'i' || p->kind == 'u') && b[0].len == n * 8)
			return n * TIME_MAX;
	}
	PyErr_SetString(PyExc_ValueError, "a part that has not so many rows, or is none");
	return -1;
}

static char *part_put(char *out, const struct part *p, Py_ssize_t row)
{
	const uint64_t *numbers = p->buffers[0].buf;

	switch (p->kind) {
	case 't': return out + put(out, &p->texts, row);
	case 's':
		memcpy(out, p->buffers[0].buf, (size_t)p->buffers[0].len);
		return out + p->buffers[0].len;
	case 'i':
		if ((int64_t)numbers[row] < 0) {
			*out++ = '-';
			return write_digits(out, 0 - numbers[row], 1, ' ');
		}
		/* fallthrough */
	default: return write_digits(out, numbers[row], 1, ' ');
	}
}

static PyObject *joined(const struct part *parts, Py_ssize_t count, Py_ssize_t n, int64_t room)
{
	char *start = malloc((size_t)room + 1), *out = start;
	PyObject *bytes;

	if (!start)
		return PyErr_NoMemory();
	Py_BEGIN_ALLOW_THREADS
	for (Py_ssize_t row = 0; row < n; row++)
		for (Py_ssize_t i = 0; i < count; i++)
			out = part_put(out, &parts[i], row);
	Py_END_ALLOW_THREADS
	bytes = PyBytes_FromStringAndSize(start, out - start);
	free(start);
	return bytes;
}

static PyObject *native_join(PyObject *self, PyObject *args)
{
	struct part parts[MOST_PARTS] = {0};
	PyObject *items, *result = NULL;
	Py_ssize_t n, count;
	int64_t room = 0;

	(void)self;
	if (!PyArg_ParseTuple(args, "nO!", &n, &PyTuple_Type, &items))
		return NULL;
	count = PyTuple_Size(items);
	if (n < 0 || n > INT32_MAX || count > MOST_PARTS) {
		PyErr_SetString(PyExc_ValueError, "too many rows or parts");
		return NULL;
	}
	for (Py_ssize_t i = 0; i < count && room >= 0; i++) {
		int64_t size = part_take(&parts[i], PyTuple_GetItem(items, i), n);

		room = size < 0 ? -1 : room + size;
	}
	if (room >= 0)
		result = joined(parts, count, n, room);
	for (Py_ssize_t i = 0; i < count; i++)
		for (int b = 0; b < parts[i].taken; b++)
			PyBuffer_Release(&parts[i].buffers[b]);
	return result;
}

NATIVE_MODULE(lines, "Events as lines of text.",
	      {"lines", native_lines, METH_VARARGS, "lines(mode, stamps, head, tail) -> text"},
	      {"join", native_join, METH_VARARGS, "join(rows, parts) -> text"})
