/* tracekit._native._walk: the hot loops. The Python side is typed in _walk.pyi. */
#include "native.h"

static PyMethodDef methods[] = {
	{"walk", native_walk, METH_VARARGS,
	 "walk(data, pages, page_header, record_header) -> columns of records, rows of pages"},
	{"gather", native_gather, METH_VARARGS,
	 "gather(data, offsets, lengths, at, size) -> (column, too short records)"},
	{"gather_var", native_gather_var, METH_VARARGS,
	 "gather_var(data, offsets, lengths, mode, at, size, cstring) -> (ends, values, bad)"},
	{"intern", native_intern, METH_VARARGS,
	 "intern(data, offsets, lengths, skip, seed) -> (codes, first records)"},
	{"symbols", native_symbols, METH_VARARGS,
	 "symbols(text) -> (addresses, name offsets, name lengths)"},
	{"lines", native_lines, METH_VARARGS, "lines(mode, stamps, head, tail) -> text"},
	{"counter_sample", native_counter_sample, METH_VARARGS,
	 "counter_sample(clock, tries) -> (before, ns, after)"},
	{"counter_write", native_counter_write, METH_VARARGS,
	 "counter_write(fd, data) -> (before, after)"},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "tracekit._native._walk",
	.m_doc = "The hot loops over ring-buffer records.",
	.m_size = 0,
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__walk(void)
{
	return PyModuleDef_Init(&module);
}
