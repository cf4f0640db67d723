/* libFuzzer as a Python module: the loop is libFuzzer's, the target is a Python function.
 *
 * Built with clang by tests/fuzz/native.py, and preloaded together with the runtime of
 * AddressSanitizer, so that the instrumented copies of tracekit/_native find both.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*test)(const uint8_t *, size_t));

enum { MOST_ARGUMENTS = 32 };
static PyObject *target;

/* One input. An exception is a finding: libFuzzer keeps the input when the process aborts. */
static int test(const uint8_t *data, size_t size)
{
	PyObject *result =
		PyObject_CallFunction(target, "y#", (const char *)data, (Py_ssize_t)size);

	if (!result) {
		PyErr_Print();
		abort();
	}
	Py_DECREF(result);
	return 0;
}

static PyObject *run(PyObject *self, PyObject *args)
{
	PyObject *options;
	char *argv[MOST_ARGUMENTS + 1] = {NULL}, **list = argv;
	int argc;

	(void)self;
	if (!PyArg_ParseTuple(args, "O!O", &PyTuple_Type, &options, &target))
		return NULL;
	argc = (int)PyTuple_Size(options);
	if (argc > MOST_ARGUMENTS) {
		PyErr_SetString(PyExc_ValueError, "too many options");
		return NULL;
	}
	for (int i = 0; i < argc; i++) {
		PyObject *bytes = PyUnicode_EncodeFSDefault(PyTuple_GetItem(options, i));

		if (!bytes)
			return NULL;
		argv[i] = PyBytes_AsString(bytes); /* kept: libFuzzer looks at it to the end */
	}
	return PyLong_FromLong(LLVMFuzzerRunDriver(&argc, &list, test));
}

static PyMethodDef methods[] = {
	{"run", run, METH_VARARGS, "run(options, target): fuzz; ends the process when it is done"},
	{NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "tracekit_libfuzzer",
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit_tracekit_libfuzzer(void) { return PyModuleDef_Init(&module); }
