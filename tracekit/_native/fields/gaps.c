/* The times between each event and the next of its name: how many, quantiles, the longest.
 *
 * A quantile is one of the times, exactly. Pass after pass over the events, in the order of time,
 * narrows down where it lies: first to a 256th of a power of two, then by 12 bits at a time.
 * Nothing is stored for an event.
 */
#include "../records.h"

#define FINE 8 /* bits below the highest that the first pass tells apart */
#define COARSE ((64 - FINE) << FINE)
#define STEP 12
#define QUANTILES 2

struct quantile {
	int64_t place; /* how many times are below it, in [low, low + 2**bits) */
	int64_t low;
	int64_t bits;
};

/* What is known of one name; the Python side has it as 14 columns of int64. */
struct name {
	int64_t count;
	int64_t first, last;	    /* rows */
	int64_t last_ts, last_boot; /* -1 where none was seen in this pass */
	int64_t times;
	int64_t longest, where; /* the row before it */
	struct quantile q[QUANTILES];
};

struct events {
	Py_buffer names, counts, kinds, marks, ts, boots, table, timed;
	long long start; /* the first row */
};

static unsigned coarse(uint64_t time)
{
	if (time < 1 << FINE)
		return time;
	int top = 63 - __builtin_clzll(time);
	return (unsigned)(top - FINE + 1) << FINE | (time >> (top - FINE) & ((1 << FINE) - 1));
}

static int64_t lowest(unsigned bucket, int64_t *bits)
{
	unsigned group = bucket >> FINE;

	*bits = group ? group - 1 : 0;
	int64_t head = group ? 1 << FINE | (bucket & ((1 << FINE) - 1)) : bucket;
	return head << *bits;
}

static void count_first(struct name *n, uint64_t *counts, int64_t time)
{
	if (!n->times || time > n->longest) {
		n->longest = time;
		n->where = n->last;
	}
	n->times++;
	counts[coarse(time)]++;
}

static void count_again(const struct name *n, uint64_t *counts, int64_t time)
{
	for (int i = 0; i < QUANTILES; i++) {
		const struct quantile *q = &n->q[i];
		uint64_t above = (uint64_t)time - (uint64_t)q->low;

		if (q->bits && !(above >> q->bits))
			counts[(i << STEP) + (above >> (q->bits > STEP ? q->bits - STEP : 0))]++;
	}
}

/* One pass over some events; 0 if the times do not ascend, or an event has no name. */
static inline int pass(const struct events *e, int is_first, Py_ssize_t size)
{
	const int32_t *kinds = e->kinds.buf, *table = e->table.buf;
	const uint8_t *marks = e->marks.buf, *boots = e->boots.buf, *timed = e->timed.buf;
	const int64_t *ts = e->ts.buf;
	Py_ssize_t limit = e->table.len / 4, names = e->names.len / (Py_ssize_t)sizeof(struct name);

	for (Py_ssize_t i = 0; i < e->boots.len; i++) {
		if (e->marks.len && !marks[i])
			continue;
		if ((uint32_t)kinds[i] >= limit || (uint32_t)table[kinds[i]] >= names)
			return 0;
		struct name *n = (struct name *)e->names.buf + table[kinds[i]];
		uint64_t *counts = (uint64_t *)e->counts.buf + table[kinds[i]] * size;

		if (!is_first && !n->q[0].bits && !n->q[1].bits)
			continue;
		if (n->last_boot == boots[i] && timed[boots[i]]) {
			int64_t time;

			if (__builtin_sub_overflow(ts[i], n->last_ts, &time) || time < 0)
				return 0;
			if (is_first)
				count_first(n, counts, time);
			else
				count_again(n, counts, time);
		}
		if (is_first && !n->count++)
			n->first = e->start + i;
		n->last = e->start + i;
		n->last_ts = ts[i];
		n->last_boot = boots[i];
	}
	return 1;
}

/* The bucket that the quantile lies in; its place is from then on the one in there. */
static unsigned settle(struct quantile *q, const uint64_t *counts, Py_ssize_t size)
{
	unsigned bucket = 0;

	for (; bucket < size - 1 && q->place >= (int64_t)counts[bucket]; bucket++)
		q->place -= (int64_t)counts[bucket];
	return bucket;
}

static void settle_first(struct name *n, const uint64_t *counts, const int *percent)
{
	for (int i = 0; i < QUANTILES && n->times; i++) {
		struct quantile *q = &n->q[i];

		q->place =
			n->times / 100 * percent[i] + (n->times % 100 * percent[i] + 99) / 100 - 1;
		q->low = lowest(settle(q, counts, COARSE), &q->bits);
	}
}

static void settle_again(struct name *n, const uint64_t *counts)
{
	for (int i = 0; i < QUANTILES; i++) {
		struct quantile *q = &n->q[i];
		int shift = q->bits > STEP ? (int)q->bits - STEP : 0;

		if (!q->bits)
			continue;
		q->low += (int64_t)settle(q, counts + (i << STEP), 1 << STEP) << shift;
		q->bits = shift;
	}
}

PyObject *native_gaps_counted(PyObject *self, PyObject *args)
{
	struct events e;
	int is_first, fits, sound = 0;

	(void)self;
	if (!PyArg_ParseTuple(args, "w*w*py*z*y*y*Ly*y*", &e.names, &e.counts, &is_first, &e.kinds,
			      &e.marks, &e.ts, &e.boots, &e.start, &e.table, &e.timed))
		return NULL;
	Py_ssize_t size = is_first ? COARSE : QUANTILES << STEP, count = e.boots.len;
	Py_ssize_t names = e.names.len / (Py_ssize_t)sizeof(struct name);

	fits = e.timed.len == 256 && e.ts.len / 8 == count && e.kinds.len / 4 == count &&
	       (!e.marks.len || e.marks.len == count) && e.counts.len / 8 == names * size;
	if (fits) {
		Py_BEGIN_ALLOW_THREADS;
		/* written twice so that each is a loop of its own */
		sound = is_first ? pass(&e, 1, COARSE) : pass(&e, 0, QUANTILES << STEP);
		Py_END_ALLOW_THREADS;
	}
	Py_buffer *all[] = {&e.names, &e.counts, &e.kinds, &e.marks,
			    &e.ts,    &e.boots,	 &e.table, &e.timed};
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		PyBuffer_Release(all[i]);
	if (sound)
		Py_RETURN_NONE;
	PyErr_SetString(PyExc_ValueError,
			fits ? "events without a name, or not in the order of time"
			     : "columns of different lengths");
	return NULL;
}

PyObject *native_gaps_settled(PyObject *self, PyObject *args)
{
	Py_buffer names, counts;
	int is_first, percent[QUANTILES], left = 0, fits;

	(void)self;
	if (!PyArg_ParseTuple(args, "w*y*pii", &names, &counts, &is_first, &percent[0],
			      &percent[1]))
		return NULL;
	Py_ssize_t size = is_first ? COARSE : QUANTILES << STEP;
	Py_ssize_t count = names.len / (Py_ssize_t)sizeof(struct name);

	fits = counts.len / 8 == count * size;
	for (Py_ssize_t i = 0; fits && i < count; i++) {
		struct name *n = (struct name *)names.buf + i;
		const uint64_t *mine = (const uint64_t *)counts.buf + i * size;

		if (is_first)
			settle_first(n, mine, percent);
		else
			settle_again(n, mine);
		n->last_boot = -1;
		left += n->q[0].bits || n->q[1].bits;
	}
	PyBuffer_Release(&names);
	PyBuffer_Release(&counts);
	if (fits)
		return PyLong_FromLong(left);
	PyErr_SetString(PyExc_ValueError, "columns of different lengths");
	return NULL;
}
