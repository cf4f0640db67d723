/* Writes rows as lines of text, each of the same parts: columns of texts (a code for every row, and
 * a few texts), numbers, times, and what programs print of records.
 *
 * Times are written as trace_print_time() in kernel/trace/trace_output.c does, or as signed seconds
 * with nine digits.
 */
#include "programs/many.h"

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
	char digits[TIME_MAX], *p = decimal_before(digits + sizeof(digits), value);
	size_t size;

	while (digits + sizeof(digits) - p < least)
		*--p = fill;
	size = (size_t)(digits + sizeof(digits) - p);
	copy_text(out, p, size);
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

	copy_text(out, t->values + from, size);
	return size;
}

/* Checks codes and ends: 0, or -1 with an error set. */
static int texts_check(const struct texts *t, Py_ssize_t n, Py_ssize_t size)
{
	for (Py_ssize_t i = 0; i < t->count; i++) {
		if (t->ends[i] < 0 || t->ends[i + 1] < t->ends[i] || t->ends[i + 1] > size)
			goto bad;
	}
	for (Py_ssize_t i = 0; i < n; i++) {
		if (t->codes[i] < 0 || t->codes[i] >= t->count)
			goto bad;
	}
	return 0;
bad:
	PyErr_SetString(PyExc_ValueError, "a code or an end lies outside the texts");
	return -1;
}

enum { MOST_PARTS = 32, FIRST_GUESS = 128 /* bytes of a line */ };

/* What a part of every line is: texts by code, numbers (signed or not), the same text, a time as a
 * mode writes it, or what programs print.
 */
struct part {
	Py_buffer buffers[3];
	int taken;
	int kind; /* 't', 'i', 'u', 's', '0' + mode, 'p' */
	struct texts texts;
	struct many many;
};

/* 0, or -1 with an error set. */
static int part_take(struct part *p, PyObject *item, Py_ssize_t n)
{
	Py_buffer *b = p->buffers;
	PyObject *programs;
	int is_number;

	if (!PyTuple_Check(item)) {
		PyErr_SetString(PyExc_TypeError, "a part is a tuple");
		return -1;
	}
	if (PyTuple_Size(item) == 3) {
		if (!PyArg_ParseTuple(item, "y*y*y*", &b[0], &b[1], &b[2]))
			return -1;
		p->taken = 3;
		p->kind = 't';
		p->texts = (struct texts){b[0].buf, b[1].buf, b[2].buf, b[1].len / 8 - 1};
		if (b[0].len == n * 4 && p->texts.count >= 0)
			return texts_check(&p->texts, n, b[2].len);
	} else if (PyTuple_Size(item) == 2 && (programs = PyTuple_GetItem(item, 1)) &&
		   PyTuple_Check(programs)) {
		p->kind = 'p';
		return many_take(&p->many, programs, n);
	} else {
		if (!PyArg_ParseTuple(item, "Cy*", &p->kind, &b[0]))
			return -1;
		p->taken = 1;
		is_number = p->kind == 'i' || p->kind == 'u' ||
			    (p->kind >= '0' && p->kind <= '0' + SIGNED_SECONDS);
		if (p->kind == 's' || (is_number && b[0].len == n * 8))
			return 0;
	}
	PyErr_SetString(PyExc_ValueError, "columns of unlike lengths, or no such part");
	return -1;
}

static char *part_put(char *out, const struct part *p, Py_ssize_t row)
{
	const uint64_t *numbers = p->buffers[0].buf;

	switch (p->kind) {
	case 't': return out + put(out, &p->texts, row);
	case 's':
		copy_text(out, p->buffers[0].buf, (size_t)p->buffers[0].len);
		return out + p->buffers[0].len;
	case 'i':
		if ((int64_t)numbers[row] < 0) {
			*out++ = '-';
			return write_digits(out, 0 - numbers[row], 1, ' ');
		}
		/* fallthrough */
	case 'u': return write_digits(out, numbers[row], 1, ' ');
	default: return out + write_time(out, numbers[row], p->kind - '0');
	}
}

/* The longest that a part puts, but for what programs print. */
static size_t part_most(const struct part *p)
{
	int64_t most = TIME_MAX;

	if (p->kind == 's')
		return (size_t)p->buffers[0].len;
	for (Py_ssize_t i = 0; p->kind == 't' && i < p->texts.count; i++)
		if (p->texts.ends[i + 1] - p->texts.ends[i] > most)
			most = p->texts.ends[i + 1] - p->texts.ends[i];
	return (size_t)most;
}

/* Puts the parts of a row; what was put of one that is not printed is taken back. */
static enum status row_put(struct out *out, const struct part *parts, Py_ssize_t count,
			   Py_ssize_t row, struct misses *misses)
{
	size_t begin = out->used;

	for (Py_ssize_t i = 0; i < count; i++) {
		enum status status = PRINTED;

		if (parts[i].kind == 'p') {
			out->end = out->used + MAX_TEXT;
			status = many_print(&parts[i].many, row, out, misses);
		} else {
			out->used = (size_t)(part_put(out->text + out->used, &parts[i], row) -
					     out->text);
		}
		if (status != PRINTED) {
			out->used = begin;
			return status;
		}
	}
	return PRINTED;
}

struct made {
	int64_t *ends; /* where every row ends */
	uint8_t *status;
	struct misses *misses;
};

/* Puts rows from `row` on while there is room for the longest; returns the first that is not put. */
static Py_ssize_t rows_put(struct out *out, size_t room, const struct part *parts, Py_ssize_t count,
			   Py_ssize_t row, Py_ssize_t n, const struct made *made)
{
	for (; row < n && out->used <= room; row++) {
		made->status[row] = (uint8_t)row_put(out, parts, count, row, made->misses);
		made->ends[row] = (int64_t)out->used;
	}
	return row;
}

/* The texts of all rows, as a bytearray; NULL with an error set. */
static PyObject *text_of(const struct part *parts, Py_ssize_t count, Py_ssize_t n,
			 const struct made *made)
{
	size_t most = 0, size;
	struct out out = {0};
	PyObject *text;

	for (Py_ssize_t i = 0; i < count; i++)
		most += parts[i].kind == 'p' ? MAX_TEXT : part_most(&parts[i]);
	size = (size_t)n * FIRST_GUESS + most;
	text = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)size);
	for (Py_ssize_t row = 0; text && row < n;) {
		out.text = PyByteArray_AsString(text);
		Py_BEGIN_ALLOW_THREADS
		row = rows_put(&out, size - most, parts, count, row, n, made);
		Py_END_ALLOW_THREADS
		if (row < n && PyByteArray_Resize(text, (Py_ssize_t)(size += size / 2)))
			Py_CLEAR(text);
	}
	if (text && PyByteArray_Resize(text, (Py_ssize_t)out.used))
		Py_CLEAR(text);
	return text;
}

static PyObject *printed(const struct part *parts, Py_ssize_t count, Py_ssize_t n)
{
	PyObject *ends, *status, *text = NULL, *result = NULL;
	struct made made = {.misses = calloc(1, sizeof(*made.misses))};

	ends = new_bytes(n * 8, &made.ends);
	status = new_bytes(n, &made.status);
	if (!made.misses || misses_begin(made.misses))
		PyErr_NoMemory();
	else if (ends && status)
		text = text_of(parts, count, n, &made);
	if (text)
		result = Py_BuildValue("(OOOy#)", text, ends, status, (const char *)made.misses->at,
				       (Py_ssize_t)(made.misses->count * sizeof(*made.misses->at)));
	if (made.misses)
		free(made.misses->at);
	free(made.misses);
	Py_XDECREF(text);
	Py_XDECREF(ends);
	Py_XDECREF(status);
	return result;
}

static PyObject *native_print(PyObject *self, PyObject *args)
{
	struct part *parts = calloc(MOST_PARTS, sizeof(*parts));
	PyObject *items, *result = NULL;
	Py_ssize_t n, count = 0;
	int wrong = 0;

	(void)self;
	if (!parts)
		return PyErr_NoMemory();
	if (!PyArg_ParseTuple(args, "nO!", &n, &PyTuple_Type, &items)) {
		free(parts);
		return NULL;
	}
	if (n < 0 || n > INT32_MAX || PyTuple_Size(items) > MOST_PARTS) {
		PyErr_SetString(PyExc_ValueError, "too many rows or parts");
		free(parts);
		return NULL;
	}
	for (; count < PyTuple_Size(items) && !wrong; count++)
		wrong = part_take(&parts[count], PyTuple_GetItem(items, count), n);
	if (!wrong)
		result = printed(parts, count, n);
	for (Py_ssize_t i = 0; i < count; i++) {
		for (int b = 0; b < parts[i].taken; b++)
			PyBuffer_Release(&parts[i].buffers[b]);
		many_release(&parts[i].many);
	}
	free(parts);
	return result;
}

NATIVE_MODULE(lines, "Events as lines of text.",
	      {"print", native_print, METH_VARARGS,
	       "print(rows, parts) -> text, ends, statuses, misses"})
