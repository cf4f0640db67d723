/* Writes columns as lines of text: a head, a time and a tail for every row.
 *
 * Head and tail are dictionary columns: a code for every row, and a few texts. The time is written
 * as trace_print_time() in kernel/trace/trace_output.c does, or as signed seconds with nine digits.
 */
#include "native.h"

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

NATIVE_MODULE(lines, "Events as lines of text.",
	      {"lines", native_lines, METH_VARARGS, "lines(mode, stamps, head, tail) -> text"})
