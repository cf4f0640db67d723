/* Checked views on records, for the loops over them. */
#include "records.h"

int records_check(struct records *r, const Py_buffer *data, const Py_buffer *offsets,
		  const Py_buffer *lengths)
{
	r->data = data->buf;
	r->size = (uint64_t)data->len;
	r->offsets = offsets->buf;
	r->lengths = lengths->buf;
	r->n = offsets->len / 8;
	if (offsets->len % 8 || lengths->len != r->n * 4) {
		PyErr_SetString(PyExc_ValueError, "offsets must be u64 and lengths u32, as many");
		return -1;
	}
	for (Py_ssize_t i = 0; i < r->n; i++) {
		if (r->offsets[i] > r->size || r->lengths[i] > r->size - r->offsets[i]) {
			PyErr_SetString(PyExc_ValueError, "a record lies outside the data");
			return -1;
		}
	}
	return 0;
}
