/* Reads the lines of /proc/kallsyms: addresses, and where the names are.
 *
 * s_show() in kernel/kallsyms.c writes "%px %c %s" for the kernel, and "\t[%s]" after it for
 * everything else; only lines of the first kind are taken.
 */
#include "native.h"

struct line {
	uint64_t address;
	uint32_t at, size;
}; /* the name: offset and length */

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads one line of `size` bytes at `p`; 0 if it is not a symbol of the kernel itself. */
static int read_line(const uint8_t *p, uint64_t size, struct line *out)
{
	if (size < 20 || p[16] != ' ' || p[17] == ' ' || p[18] != ' ')
		return 0;
	out->address = 0;
	for (int i = 0; i < 16; i++) {
		int digit = hex_digit(p[i]);
		if (digit < 0)
			return 0;
		out->address = out->address << 4 | (uint64_t)digit;
	}
	for (uint64_t i = 19; i < size; i++) {
		if (p[i] <= ' ' || p[i] == 0x7f)
			return 0;
	}
	out->size = (uint32_t)(size - 19);
	return 1;
}

/* Counts the symbols, and stores them unless `addresses` is NULL; returns their number. */
static Py_ssize_t read_lines(const uint8_t *text, uint64_t size, uint64_t *addresses, uint32_t *at,
			     uint32_t *sizes)
{
	Py_ssize_t n = 0;

	for (uint64_t start = 0; start < size;) {
		const uint8_t *newline = memchr(text + start, '\n', size - start);
		uint64_t end = newline ? (uint64_t)(newline - text) : size;
		struct line line;

		if (read_line(text + start, end - start, &line)) {
			if (addresses) {
				addresses[n] = line.address;
				at[n] = (uint32_t)(start + 19);
				sizes[n] = line.size;
			}
			n++;
		}
		start = end + 1;
	}
	return n;
}

static PyObject *native_symbols(PyObject *self, PyObject *args)
{
	PyObject *columns[3] = {0}, *result = NULL;
	uint64_t *addresses;
	uint32_t *at, *sizes;
	Py_buffer text;
	Py_ssize_t n;

	(void)self;
	if (!PyArg_ParseTuple(args, "y*", &text))
		return NULL;
	if ((uint64_t)text.len > UINT32_MAX) {
		PyErr_SetString(PyExc_ValueError, "more than 4 GiB of symbols");
	} else {
		n = read_lines(text.buf, (uint64_t)text.len, NULL, NULL, NULL);
		columns[0] = new_bytes(n * 8, &addresses);
		columns[1] = new_bytes(n * 4, &at);
		columns[2] = new_bytes(n * 4, &sizes);
		if (columns[0] && columns[1] && columns[2]) {
			read_lines(text.buf, (uint64_t)text.len, addresses, at, sizes);
			result = PyTuple_Pack(3, columns[0], columns[1], columns[2]);
		}
	}
	for (int i = 0; i < 3; i++)
		Py_XDECREF(columns[i]);
	PyBuffer_Release(&text);
	return result;
}

NATIVE_MODULE(symbols, "The text of /proc/kallsyms.",
	      {"symbols", native_symbols, METH_VARARGS,
	       "symbols(text) -> (addresses, name offsets, name lengths)"})
