/* Rows of events: those that are chosen, and the times between each event and the next of its kind:
 * how many, quantiles, the longest.
 *
 * A quantile is one of the times, exactly. Pass after pass narrows down where it lies: first to a
 * 4096th of a power of two, then by 12 bits at a time. Nothing is stored for an event.
 */
#include "records.h"

#define FINE 12 /* bits below the highest that the first pass tells apart */
#define COARSE ((64 - FINE) << FINE)
#define STEP 12
#define QUANTILES 2

struct events {
	const uint8_t *rows;
	Py_ssize_t count;
	int wide;
	const int64_t *ts;
	const uint8_t *boots;
	const uint8_t *timed;
};

struct quantile {
	uint64_t place; /* how many times are below it, in [low, low + 2**bits) */
	uint64_t low;
	int bits;
	uint64_t *counts;
};

static uint64_t row_at(const struct events *e, Py_ssize_t i)
{
	return e->wide ? load64(e->rows + 8 * i) : load32(e->rows + 4 * i);
}

/* The time from event i - 1 to event i; 0 where nothing is between them. */
static int between(const struct events *e, uint64_t before, uint64_t after, uint64_t *time)
{
	uint8_t boot = e->boots[after];

	*time = (uint64_t)e->ts[after] - (uint64_t)e->ts[before];
	return e->timed[boot] && e->boots[before] == boot;
}

static unsigned coarse(uint64_t time)
{
	if (time < 1 << FINE)
		return time;
	int top = 63 - __builtin_clzll(time);
	return (unsigned)(top - FINE + 1) << FINE | (time >> (top - FINE) & ((1 << FINE) - 1));
}

static uint64_t lowest(unsigned bucket, int *bits)
{
	unsigned group = bucket >> FINE;

	*bits = group ? group - 1 : 0;
	uint64_t head = group ? 1 << FINE | (bucket & ((1 << FINE) - 1)) : bucket;
	return head << *bits;
}

/* The first pass; 0 if a row is none, or the rows are not in the order of time. */
static int first_pass(const struct events *e, Py_ssize_t limit, uint64_t *counts, uint64_t *total,
		      uint64_t *longest, Py_ssize_t *where)
{
	uint64_t before = 0;

	for (Py_ssize_t i = 0; i < e->count; i++) {
		uint64_t time, after = row_at(e, i);

		if (after >= (uint64_t)limit)
			return 0;
		if (i && between(e, before, after, &time)) {
			if (time > INT64_MAX)
				return 0;
			if (*where < 0 || time > *longest) {
				*longest = time;
				*where = i - 1;
			}
			counts[coarse(time)]++;
			++*total;
		}
		before = after;
	}
	return 1;
}

/* The bucket that the quantile lies in; its place is from then on the one in there. */
static unsigned settle(struct quantile *q, const uint64_t *counts)
{
	unsigned bucket = 0;

	for (; q->place >= counts[bucket]; bucket++)
		q->place -= counts[bucket];
	return bucket;
}

static void refine(const struct events *e, struct quantile *q)
{
	uint64_t before = row_at(e, 0);
	int shift[QUANTILES];

	for (int n = 0; n < QUANTILES; n++) {
		shift[n] = q[n].bits > STEP ? q[n].bits - STEP : 0;
		memset(q[n].counts, 0, sizeof(uint64_t) << STEP);
	}
	for (Py_ssize_t i = 1; i < e->count; i++) {
		uint64_t time, after = row_at(e, i);

		if (between(e, before, after, &time))
			for (int n = 0; n < QUANTILES; n++)
				if (q[n].bits && (time - q[n].low) >> q[n].bits == 0)
					q[n].counts[(time - q[n].low) >> shift[n]]++;
		before = after;
	}
	for (int n = 0; n < QUANTILES; n++) {
		if (!q[n].bits)
			continue;
		q[n].low += (uint64_t)settle(&q[n], q[n].counts) << shift[n];
		q[n].bits = shift[n];
	}
}

static int work(const struct events *e, Py_ssize_t limit, const int *percent, struct quantile *q,
		uint64_t *counts, uint64_t *total, uint64_t *longest, Py_ssize_t *where)
{
	if (!first_pass(e, limit, counts, total, longest, where))
		return 0;
	if (!*total)
		return 1;
	for (int n = 0; n < QUANTILES; n++) {
		q[n].place = (*total * percent[n] + 99) / 100 - 1;
		q[n].low = lowest(settle(&q[n], counts), &q[n].bits);
	}
	while (q[0].bits || q[1].bits)
		refine(e, q);
	return 1;
}

/* Those of the rows, of ``size`` bytes each, that are marked; -1 if a row is none. */
static inline Py_ssize_t keep(const uint8_t *rows, Py_ssize_t count, int size,
			      const Py_buffer *marks, uint8_t *out)
{
	const uint8_t *marked = marks->buf;
	Py_ssize_t kept = 0;

	for (Py_ssize_t i = 0; i < count; i++, rows += size) {
		uint64_t row = size == 8 ? load64(rows) : load32(rows);

		if (row >= (uint64_t)marks->len)
			return -1;
		memcpy(out + kept * size, rows, size);
		kept += marked[row] != 0;
	}
	return kept;
}

PyObject *native_kept(PyObject *self, PyObject *args)
{
	Py_buffer rows, marks;
	PyObject *found = NULL;
	int wide;

	(void)self;
	if (!PyArg_ParseTuple(args, "y*py*", &rows, &wide, &marks))
		return NULL;
	Py_ssize_t kept, size = wide ? 8 : 4, count = rows.len / size;

	/* room for one more, which is written and not kept */
	found = PyBytes_FromStringAndSize(NULL, (count + 1) * size);
	if (!found)
		goto done;
	uint8_t *out = (uint8_t *)PyBytes_AsString(found);

	Py_BEGIN_ALLOW_THREADS;
	/* the sizes are written out so that each is a loop of its own */
	kept = wide ? keep(rows.buf, count, 8, &marks, out) : keep(rows.buf, count, 4, &marks, out);
	Py_END_ALLOW_THREADS;
	if (kept >= 0) {
		_PyBytes_Resize(&found, kept * size);
	} else {
		Py_CLEAR(found);
		PyErr_SetString(PyExc_ValueError, "rows that are none");
	}
done:
	PyBuffer_Release(&rows);
	PyBuffer_Release(&marks);
	return found;
}

PyObject *native_gaps(PyObject *self, PyObject *args)
{
	Py_buffer rows, ts, boots, timed;
	int percent[QUANTILES], wide, sound = 0;
	uint64_t total = 0, longest = 0;
	Py_ssize_t where = -1;
	struct quantile q[QUANTILES] = {0};
	PyObject *found = NULL;

	(void)self;
	if (!PyArg_ParseTuple(args, "y*py*y*y*ii", &rows, &wide, &ts, &boots, &timed, &percent[0],
			      &percent[1]))
		return NULL;
	struct events e = {rows.buf, rows.len / (wide ? 8 : 4), wide, ts.buf, boots.buf, timed.buf};
	uint64_t *counts = PyMem_Calloc(COARSE + (QUANTILES << STEP), sizeof(uint64_t));

	if (!counts) {
		PyErr_NoMemory();
		goto done;
	}
	if (timed.len != 256 || ts.len / 8 != boots.len || percent[0] < 1 || percent[0] > 100 ||
	    percent[1] < 1 || percent[1] > 100) {
		PyErr_SetString(PyExc_ValueError, "columns of different lengths, or no share");
		goto done;
	}
	for (int n = 0; n < QUANTILES; n++)
		q[n].counts = counts + COARSE + ((Py_ssize_t)n << STEP);
	Py_BEGIN_ALLOW_THREADS;
	sound = work(&e, boots.len, percent, q, counts, &total, &longest, &where);
	Py_END_ALLOW_THREADS;
	if (!sound)
		PyErr_SetString(PyExc_ValueError,
				"rows that are none, or not in the order of time");
	else
		found = Py_BuildValue("KKKKn", (unsigned long long)total,
				      (unsigned long long)q[0].low, (unsigned long long)q[1].low,
				      (unsigned long long)longest, where);
done:
	PyMem_Free(counts);
	PyBuffer_Release(&rows);
	PyBuffer_Release(&ts);
	PyBuffer_Release(&boots);
	PyBuffer_Release(&timed);
	return found;
}
