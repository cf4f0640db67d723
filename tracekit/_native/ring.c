/* The walk over the records of sub-buffers.
 *
 * What an event header means comes from include/linux/ring_buffer.h and rb_event_length(),
 * rb_read_data_buffer() and rb_fix_abs_ts() in kernel/trace/ring_buffer.c.
 */
#include "native.h"

enum { TYPE_PADDING = 29, TYPE_TIME_EXTEND = 30, TYPE_TIME_STAMP = 31 };

/* Page status; tracekit.ftrace.ring.page has the messages. */
enum {
	PAGE_OK,
	PAGE_COMMIT_BEYOND,
	PAGE_RECORD_BEYOND,
	PAGE_BAD_PADDING,
	PAGE_SHORT_RECORD,
	PAGE_STAMP_ALONE
};

#define COMMIT_MASK 0x3fffffffu
#define MISSED_EVENTS (1u << 31)
#define MISSED_STORED (1u << 30)
#define ABS_TOP (0xf8ULL << 56)

struct geometry {
	Py_ssize_t ts, commit, data;		      /* in the sub-buffer */
	Py_ssize_t type, flags, preempt, pid, header; /* in the payload */
};

/* One row for each sub-buffer, as tracekit.ftrace.ring.page reads it (nine u64). */
struct page_row {
	uint64_t events, status, where, missed, commit, first_ts, last_ts, discarded, unreadable;
};

struct columns {
	uint64_t *ts, *offset;
	uint32_t *length;
	uint16_t *type;
	uint8_t *flags, *preempt;
	int32_t *pid;
};

static const uint64_t UNKNOWN = UINT64_MAX;

/*
 * The commit field and how many events were lost before the page: 0, a count, or UNKNOWN.
 * The kernel's local_t is 64 bits wide, and bit 31 may come sign-extended (RB_MISSED_EVENTS is an
 * int); any other upper half makes the commit impossible, and it is returned unmasked.
 */
static uint64_t read_commit(const uint8_t *page, uint64_t size, const struct geometry *g,
			    uint64_t *missed)
{
	uint32_t raw = load32(page + g->commit);
	uint64_t commit = raw & COMMIT_MASK;

	*missed = 0;
	if (g->data - g->commit >= 8) {
		uint64_t whole = load64(page + g->commit);
		uint64_t extended = (uint64_t)(int64_t)(int32_t)raw;
		if (whole != raw && whole != extended)
			return whole;
	}
	if (raw & MISSED_EVENTS) {
		*missed = UNKNOWN;
		if ((raw & MISSED_STORED) && g->data + commit + 8 <= size)
			*missed = load64(page + g->data + commit);
	}
	return commit;
}

/* An event's header: how many bytes the event takes, and after how many its payload begins. */
struct event {
	uint32_t type_len, delta, word;
	uint64_t total, skip;
};

/* Reads the header at `p`, `left` bytes before the commit; the page's status if it is impossible. */
static inline int read_header(const uint8_t *p, uint64_t left, struct event *e)
{
	uint32_t head = load32(p);

	e->type_len = head & 31;
	e->delta = head >> 5;
	if (e->type_len == TYPE_PADDING && e->delta == 0)
		return PAGE_BAD_PADDING; /* never inside a kernel's commit */
	if (e->type_len > 0 && e->type_len < TYPE_PADDING) {
		e->skip = 4;
		e->total = 4 + 4 * (uint64_t)e->type_len;
		return e->total > left ? PAGE_RECORD_BEYOND : PAGE_OK;
	}
	if (left < 8)
		return PAGE_RECORD_BEYOND;
	e->word = load32(p + 4);
	e->skip = 8;
	if (e->type_len > TYPE_PADDING) {
		e->total = 8;
		return PAGE_OK;
	}
	e->total = 4 + (uint64_t)e->word;
	if (e->word >= 4 && e->total <= left)
		return PAGE_OK;
	return e->type_len ? PAGE_BAD_PADDING : PAGE_RECORD_BEYOND;
}

/* The time after a time extend or an absolute time stamp, which comes at `ts`. */
static inline uint64_t stamped(uint64_t ts, const struct event *e)
{
	uint64_t stamp = ((uint64_t)e->word << 27) + e->delta;

	if (e->type_len == TYPE_TIME_EXTEND)
		return ts + stamp;
	/* Take the nearer time, as the clock may also have stepped back. */
	stamp |= ts & ABS_TOP;
	return stamp < ts && ts - stamp > 1ULL << 58 ? stamp + (1ULL << 59) : stamp;
}

static inline void put_record(const struct columns *out, uint64_t n, const struct geometry *g,
			      const uint8_t *p)
{
	out->type[n] = load16(p + g->type);
	out->flags[n] = p[g->flags];
	out->preempt[n] = p[g->preempt];
	out->pid[n] = load32s(p + g->pid);
}

/* Sets what `row` says of a page before its first record; the commit as far as it can be. */
static uint64_t begin_page(const uint8_t *page, uint64_t size, const struct geometry *g,
			   struct page_row *row)
{
	uint64_t commit = read_commit(page, size, g, &row->missed);

	row->status = PAGE_OK;
	row->commit = commit;
	row->where = row->discarded = row->unreadable = 0;
	row->first_ts = load64(page + g->ts);
	if (commit <= size - g->data)
		return commit;
	row->status = PAGE_COMMIT_BEYOND;
	row->where = g->commit;
	return 0;
}

/*
 * Walk one sub-buffer; `n` is the index of the next record in the columns.
 * Everything up to the first impossible header is kept; `row` says what stopped the walk.
 */
static uint64_t walk_page(const uint8_t *base, uint64_t start, uint64_t size,
			  const struct geometry *g, const struct columns *out, uint64_t n,
			  struct page_row *row)
{
	const uint8_t *page = base + start, *data = page + g->data;
	uint64_t first = n, at = 0, stamps = 0, ts = load64(page + g->ts);
	uint64_t commit = begin_page(page, size, g, row);

	while (commit - at >= 4) {
		struct event e;
		const uint8_t *p = data + at;
		int status = read_header(p, commit - at, &e);

		if (status != PAGE_OK) {
			row->status = status;
			break;
		}
		at += e.total;
		if (e.type_len > TYPE_PADDING) {
			ts = stamped(ts, &e);
			stamps++;
			continue;
		}
		stamps = 0;
		if (e.type_len == TYPE_PADDING) { /* a discarded event */
			if (e.delta != 1) {
				ts += e.delta;
				row->discarded++;
			}
			continue;
		}
		ts += e.delta;
		if (e.total - e.skip < (uint64_t)g->header) { /* no room for the common fields */
			row->status = PAGE_SHORT_RECORD;
			row->where = (uint64_t)(p - page);
			row->unreadable++;
			continue;
		}
		out->ts[n] = ts;
		out->offset[n] = (uint64_t)(p + e.skip - base);
		out->length[n] = (uint32_t)(e.total - e.skip);
		put_record(out, n++, g, p + e.skip);
	}
	/* The kernel reserves a stamp together with its event, so no page ends with a stamp. */
	if (row->status == PAGE_OK && stamps)
		row->status = PAGE_STAMP_ALONE;
	if (row->status == PAGE_OK && at != commit) /* all lengths are multiples of 4 */
		row->status = PAGE_RECORD_BEYOND;
	if (row->status == PAGE_RECORD_BEYOND || row->status == PAGE_BAD_PADDING ||
	    row->status == PAGE_STAMP_ALONE)
		row->where = (uint64_t)g->data + at - 8 * stamps;
	row->last_ts = ts;
	row->events = n - first;
	return n;
}

static int geometry_check(const struct geometry *g)
{
	Py_ssize_t h = g->header;

	if (g->ts < 0 || g->commit < 0 || g->data < 12 || g->data > 64 || h < 0 || h > 64 ||
	    g->ts + 8 > g->data || g->commit + 4 > g->data || g->type < 0 || g->type + 2 > h ||
	    g->flags < 0 || g->flags + 1 > h || g->preempt < 0 || g->preempt + 1 > h ||
	    g->pid < 0 || g->pid + 4 > h) {
		PyErr_SetString(PyExc_ValueError, "impossible page or record header layout");
		return -1;
	}
	return 0;
}

static int pages_check(const Py_buffer *data, const Py_buffer *pages, const struct geometry *g)
{
	const uint64_t *p = pages->buf;
	Py_ssize_t n = pages->len / 16;

	for (Py_ssize_t i = 0; i < n; i++) {
		uint64_t start = p[2 * i], size = p[2 * i + 1];
		if (size < (uint64_t)g->data || start > (uint64_t)data->len ||
		    size > (uint64_t)data->len - start) {
			PyErr_SetString(PyExc_ValueError, "a sub-buffer lies outside the data");
			return -1;
		}
	}
	return 0;
}

/* Upper bound on the records in all pages: each takes its header and the common fields. */
static Py_ssize_t records_at_most(const uint8_t *base, const uint64_t *pages, Py_ssize_t npages,
				  const struct geometry *g)
{
	uint64_t total = 0;

	for (Py_ssize_t i = 0; i < npages; i++) {
		uint64_t room = pages[2 * i + 1] - g->data, missed;
		uint64_t commit = read_commit(base + pages[2 * i], pages[2 * i + 1], g, &missed);
		total += (commit < room ? commit : room) / (4 + g->header);
	}
	return (Py_ssize_t)total;
}

enum { NCOLUMNS = 7 };
static const Py_ssize_t WIDTHS[NCOLUMNS] = {8, 8, 4, 2, 1, 1, 4};

/* One uninitialised bytes object per column; -1 with an error set when out of memory. */
static int columns_new(PyObject *items[NCOLUMNS], struct columns *c, Py_ssize_t n)
{
	void *storage[NCOLUMNS] = {
		&c->ts, &c->offset, &c->length, &c->type, &c->flags, &c->preempt, &c->pid,
	};

	for (int i = 0; i < NCOLUMNS; i++) {
		items[i] = new_bytes(n * WIDTHS[i], storage[i]);
		if (!items[i])
			return -1;
	}
	return 0;
}

/* Shrink the columns to the records found. */
static int columns_shrink(PyObject *items[NCOLUMNS], Py_ssize_t n)
{
	for (int i = 0; i < NCOLUMNS; i++) {
		if (_PyBytes_Resize(&items[i], n * WIDTHS[i]))
			return -1;
	}
	return 0;
}

static PyObject *walk(const Py_buffer *data, const Py_buffer *pages, const struct geometry *g)
{
	PyObject *items[NCOLUMNS + 1] = {0}, *result = NULL;
	struct columns out;
	struct page_row *rows;
	const uint64_t *p = pages->buf;
	Py_ssize_t npages = pages->len / 16;
	uint64_t n = 0;

	if (geometry_check(g) || pages_check(data, pages, g))
		return NULL;
	items[NCOLUMNS] = new_bytes(npages * sizeof(struct page_row), &rows);
	if (items[NCOLUMNS] &&
	    columns_new(items, &out, records_at_most(data->buf, p, npages, g)) == 0) {
		Py_BEGIN_ALLOW_THREADS
		for (Py_ssize_t i = 0; i < npages; i++)
			n = walk_page(data->buf, p[2 * i], p[2 * i + 1], g, &out, n, &rows[i]);
		Py_END_ALLOW_THREADS
		if (columns_shrink(items, (Py_ssize_t)n) == 0)
			result = PyTuple_New(NCOLUMNS + 1);
	}
	for (int i = 0; i <= NCOLUMNS; i++) {
		if (result)
			PyTuple_SetItem(result, i, items[i]);
		else
			Py_XDECREF(items[i]);
	}
	return result;
}

static PyObject *native_walk(PyObject *self, PyObject *args)
{
	Py_buffer data, pages;
	struct geometry g;
	PyObject *result;

	(void)self;
	if (!PyArg_ParseTuple(args, "y*y*(nnn)(nnnnn)", &data, &pages, &g.ts, &g.commit, &g.data,
			      &g.type, &g.flags, &g.preempt, &g.pid, &g.header))
		return NULL;
	result = walk(&data, &pages, &g);
	PyBuffer_Release(&data);
	PyBuffer_Release(&pages);
	return result;
}

NATIVE_MODULE(
	ring, "Sub-buffers walked, record by record.",
	{"walk", native_walk, METH_VARARGS,
	 "walk(data, pages, page_header, record_header) -> columns of records, rows of pages"})
