/* Reads the lines of /proc/kallsyms: addresses, and where the names are, by address.
 *
 * s_show() in kernel/kallsyms.c writes "%px %c %s" for the kernel, and "\t[%s]" after it for
 * everything else.
 */
#include "native.h"

#include <stdlib.h>

#define HEAD 19			 /* bytes of a line before the name */
#define SHORTEST (HEAD + 2)	 /* bytes of a line, with its end */
#define KERNEL_HALF (1ULL << 63) /* x86_64 and arm64; below it: absolute and per-CPU symbols */

/* A name and, of a module's symbol, the module: offsets and lengths. */
struct line {
	uint64_t address;
	uint32_t at, size, module, module_size;
};

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int is_word(const uint8_t *p, const uint8_t *end)
{
	for (; p < end; p++)
		if (*p <= ' ' || *p == 0x7f)
			return 0;
	return 1;
}

/* is_mapping_symbol(), include/linux/module_symbol.h: arm64's $x, $d */
static int is_mapping(const uint8_t *name, uint64_t size)
{
	return (size && *name == '$') ||
	       (size > 1 && (!memcmp(name, ".L", 2) || !memcmp(name, "L0", 2)));
}

/* Reads one line of `size` bytes at `p`; 0 if it is not a symbol of the kernel itself, or of the
 * others (`own`: not a mapping symbol or one outside the kernel's half).
 */
static int read_line(const uint8_t *p, uint64_t size, int own, struct line *out)
{
	const uint8_t *end = p + size;

	if (size <= HEAD || p[16] != ' ' || p[17] <= ' ' || p[18] != ' ')
		return 0;
	out->address = 0;
	for (int i = 0; i < 16; i++) {
		int digit = hex_digit(p[i]);
		if (digit < 0)
			return 0;
		out->address = out->address << 4 | (uint64_t)digit;
	}
	if (own) {
		const uint8_t *tab = memchr(p + HEAD, '\t', size - HEAD);

		if (!tab || tab == p + HEAD || end - tab < 4 || tab[1] != '[' || end[-1] != ']' ||
		    !is_word(tab + 2, end) || memchr(tab + 2, ']', (size_t)(end - tab) - 3))
			return 0;
		out->module = (uint32_t)(tab + 2 - p);
		out->module_size = (uint32_t)(end - tab - 3);
		end = tab;
		if (out->address < KERNEL_HALF || is_mapping(p + HEAD, (uint64_t)(end - p) - HEAD))
			return 0;
	}
	out->at = HEAD;
	out->size = (uint32_t)(end - p) - HEAD;
	return is_word(p + HEAD, end);
}

/* Stores the symbols; returns their number. */
static Py_ssize_t read_lines(const uint8_t *text, uint64_t size, int own, struct line *lines)
{
	Py_ssize_t n = 0;

	for (uint64_t start = 0; start < size;) {
		const uint8_t *newline = memchr(text + start, '\n', size - start);
		uint64_t end = newline ? (uint64_t)(newline - text) : size;
		struct line line = {0};

		if (read_line(text + start, end - start, own, &line)) {
			lines[n] = line;
			lines[n].at += (uint32_t)start;
			lines[n++].module += (uint32_t)start;
		}
		start = end + 1;
	}
	return n;
}

/* By address, those of one in the order of the text. */
static int by_address(const void *a, const void *b)
{
	const struct line *one = a, *other = b;

	if (one->address != other->address)
		return one->address < other->address ? -1 : 1;
	return one->at < other->at ? -1 : one->at > other->at;
}

static void sort(struct line *lines, Py_ssize_t n)
{
	for (Py_ssize_t i = 1; i < n; i++) {
		if (lines[i].address < lines[i - 1].address) { /* the kernel's are in order */
			qsort(lines, (size_t)n, sizeof(*lines), by_address);
			return;
		}
	}
}

static PyObject *columns_of(const struct line *lines, Py_ssize_t n, int own)
{
	PyObject *columns[5] = {0}, *result = NULL;
	uint64_t *addresses;
	uint32_t *rest[4] = {0};
	int count = own ? 5 : 3;

	columns[0] = new_bytes(n * 8, &addresses);
	for (int i = 1; i < count; i++)
		columns[i] = new_bytes(n * 4, &rest[i - 1]);
	for (int i = 0; i < count; i++)
		if (!columns[i])
			goto done;
	for (Py_ssize_t i = 0; i < n; i++) {
		addresses[i] = lines[i].address;
		rest[0][i] = lines[i].at;
		rest[1][i] = lines[i].size;
		if (own) {
			rest[2][i] = lines[i].module;
			rest[3][i] = lines[i].module_size;
		}
	}
	result = PyTuple_New(count);
	for (int i = 0; result && i < count; i++) {
		PyTuple_SetItem(result, i, columns[i]);
		columns[i] = NULL;
	}
done:
	for (int i = 0; i < count; i++)
		Py_XDECREF(columns[i]);
	return result;
}

static PyObject *native_symbols(PyObject *self, PyObject *args)
{
	PyObject *result = NULL;
	struct line *lines;
	Py_buffer text;
	Py_ssize_t n;
	int own;

	(void)self;
	if (!PyArg_ParseTuple(args, "y*p", &text, &own))
		return NULL;
	if ((uint64_t)text.len > UINT32_MAX) {
		PyErr_SetString(PyExc_ValueError, "more than 4 GiB of symbols");
		goto done;
	}
	lines = malloc(((size_t)text.len / SHORTEST + 1) * sizeof(*lines));
	if (!lines) {
		PyErr_NoMemory();
		goto done;
	}
	n = read_lines(text.buf, (uint64_t)text.len, own, lines);
	sort(lines, n);
	result = columns_of(lines, n, own);
	free(lines);
done:
	PyBuffer_Release(&text);
	return result;
}

NATIVE_MODULE(symbols, "The text of /proc/kallsyms.",
	      {"symbols", native_symbols, METH_VARARGS,
	       "symbols(text, own) -> (addresses, name offsets, name lengths[, those of modules])"})
