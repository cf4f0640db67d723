/* Records as FtraceEvent messages of Perfetto's trace format, one program for each kind of event.
 *
 * Protobuf: a field is its tag (number << 3 | wire type) and a value, numbers in seven bits a byte.
 * A program is a list of operations, each of which writes one member of the event's own message, or
 * one Field of a GenericFtraceEvent. Records are not trusted: what lies outside one is left out.
 */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>

enum { UNSIGNED, SIGNED, FIXED, DATA_LOC, REL_LOC, FLEXIBLE, TEXT, REPEATED, NUMBERS };
enum { MAX_TAG = 4096, GROWTH = 1 << 16, LONGEST_VARINT = 10, LONGEST_NUMBER = 22 };

/* One operation, as Python lays it out: i32 each. */
struct op {
	int32_t kind;		 /* of the value */
	int32_t at;		 /* where in the payload; for TEXT the number of the column */
	int32_t size;		 /* bytes of the value, of one element for REPEATED */
	int32_t count;		 /* elements of REPEATED */
	int32_t head, head_size; /* where in `heads` what stands before the value is */
	int32_t wrapped; /* whether head and value are a message of their own, and its tag */
	int32_t array;	 /* of NUMBERS: how its bytes are found, one of the kinds of texts */
};

/* The operations of one kind of event, and the tag of its message: i32 each. */
struct program {
	int32_t first, count, tag, tag_size;
	int32_t lead, lead_size; /* what the message begins with */
};

struct programs {
	const struct program *program;
	Py_ssize_t kinds;
	const struct op *op;
	Py_ssize_t ops;
	const uint8_t *heads;
	Py_ssize_t heads_size;
};

/* A column of texts: row i has values[ends[i] .. ends[i + 1]]. */
struct text_column {
	const int64_t *ends;
	const uint8_t *values;
};
enum { MAX_TEXTS = 16 };

struct buffer {
	uint8_t *data;
	size_t size, room;
	int failed;
};

static uint8_t *reserve(struct buffer *b, size_t size)
{
	if (b->room - b->size < size) {
		size_t room = b->room + b->room / 2 + size + GROWTH;
		uint8_t *data = realloc(b->data, room);

		if (!data) {
			b->failed = 1;
			return NULL;
		}
		b->data = data;
		b->room = room;
	}
	return b->data + b->size;
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		out[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	out[n++] = (uint8_t)value;
	return n;
}

static size_t varint_size(uint64_t value)
{
	size_t n = 1;

	while (value >>= 7)
		n++;
	return n;
}

static uint64_t load_number(const uint8_t *p, int32_t size, int is_signed)
{
	switch (size) {
	case 1: return is_signed ? (uint64_t)(int64_t)(int8_t)*p : *p;
	case 2: return is_signed ? (uint64_t)(int64_t)(int16_t)load16(p) : load16(p);
	case 4: return is_signed ? (uint64_t)(int64_t)load32s(p) : load32(p);
	default: return load64(p);
	}
}

/* Where the bytes of a field lie in a record; NULL if they reach beyond it. */
static const uint8_t *locate(const uint8_t *p, uint32_t length, const struct op *op, int kind,
			     size_t *size)
{
	uint64_t from = (uint64_t)op->at, count = (uint64_t)op->size;

	if (kind == DATA_LOC || kind == REL_LOC) {
		if (from + 4 > length)
			return NULL;
		uint32_t loc = load32(p + from);
		from = (loc & 0xffff) + (kind == REL_LOC ? from + 4 : 0);
		count = loc >> 16;
	} else if (kind == FLEXIBLE) {
		count = from <= length ? length - from : 0;
	}
	if (from > length || count > length - from)
		return NULL;
	*size = (size_t)count;
	return p + from;
}

static void put_head(struct buffer *b, const struct programs *s, const struct op *op, size_t value)
{
	uint8_t *out = reserve(b, (size_t)op->head_size + 2 * LONGEST_VARINT);
	size_t n = 0;

	if (!out)
		return;
	if (op->wrapped) {
		n += put_varint(out + n, (uint64_t)op->wrapped);
		n += put_varint(out + n, (uint64_t)op->head_size + value);
	}
	memcpy(out + n, s->heads + op->head, (size_t)op->head_size);
	b->size += n + (size_t)op->head_size;
}

static void put_number(struct buffer *b, const struct programs *s, const struct op *op,
		       const uint8_t *p)
{
	uint64_t value = load_number(p, op->size, op->kind == SIGNED);

	put_head(b, s, op, varint_size(value));
	uint8_t *out = reserve(b, LONGEST_VARINT);
	if (out)
		b->size += put_varint(out, value);
}

static void put_text(struct buffer *b, const struct programs *s, const struct op *op,
		     const uint8_t *text, size_t size)
{
	put_head(b, s, op, varint_size(size) + size);
	uint8_t *out = reserve(b, LONGEST_VARINT + size);
	if (!out)
		return;
	size_t n = put_varint(out, size);
	memcpy(out + n, text, size);
	b->size += n + size;
}

/* An array of numbers as text: "[1, 2]". */
static void put_numbers(struct buffer *b, struct buffer *scratch, const struct programs *s,
			const struct op *op, const uint8_t *p, size_t size)
{
	int32_t width = op->count < 0 ? -op->count : op->count;
	size_t n = size / (size_t)width, used = 1;
	char *out = (char *)reserve(scratch, n * LONGEST_NUMBER + 2);

	if (!out)
		return;
	out[0] = '[';
	for (size_t i = 0; i < n; i++) {
		uint64_t value = load_number(p + i * (size_t)width, width, op->count < 0);
		used += (size_t)snprintf(out + used, LONGEST_NUMBER + 1,
					 op->count < 0 ? "%s%lld" : "%s%llu", i ? ", " : "",
					 (unsigned long long)value);
	}
	out[used++] = ']';
	put_text(b, s, op, (const uint8_t *)out, used);
}

/* One member of a record. */
static void put_op(struct buffer *b, struct buffer *scratch, const struct programs *s,
		   const struct op *op, const uint8_t *p, uint32_t length,
		   const struct text_column *texts, Py_ssize_t row)
{
	size_t size;
	const uint8_t *text;

	switch (op->kind) {
	case UNSIGNED:
	case SIGNED:
		if ((uint64_t)op->at + (uint64_t)op->size <= length)
			put_number(b, s, op, p + op->at);
		break;
	case REPEATED:
		for (int32_t i = 0; i < op->count; i++) {
			uint64_t at = (uint64_t)op->at + (uint64_t)i * (uint64_t)op->size;
			if (at + (uint64_t)op->size <= length)
				put_number(b, s, op, p + at);
		}
		break;
	case TEXT:
		text = texts[op->at].values + texts[op->at].ends[row];
		put_text(b, s, op, text,
			 (size_t)(texts[op->at].ends[row + 1] - texts[op->at].ends[row]));
		break;
	case NUMBERS:
		text = locate(p, length, op, op->array, &size);
		if (text)
			put_numbers(b, scratch, s, op, text, size);
		break;
	default:
		text = locate(p, length, op, op->kind, &size);
		if (text) {
			const uint8_t *nul = memchr(text, 0, size);
			put_text(b, s, op, text, nul ? (size_t)(nul - text) : size);
		}
	}
}

struct columns {
	const uint64_t *stamps;
	const int32_t *pids;
	const int32_t *kinds;
};

/* One event: FtraceEventBundle.event (2) { timestamp (1), pid (2), message }. Perfetto takes any other
 * number for an event of its own, common_flags (5) too. */
static void put_event(struct buffer *out, struct buffer *body, struct buffer *scratch,
		      const struct records *r, const struct columns *c, const struct programs *s,
		      const struct text_column *texts, Py_ssize_t row)
{
	const struct program *program = &s->program[c->kinds[row]];
	uint8_t head[4 * LONGEST_VARINT + 8], *to;
	size_t n = 0, tag = (size_t)program->tag_size;

	body->size = 0;
	to = reserve(body, (size_t)program->lead_size);
	if (!to)
		return;
	memcpy(to, s->heads + program->lead, (size_t)program->lead_size);
	body->size = (size_t)program->lead_size;
	for (int32_t i = 0; i < program->count; i++)
		put_op(body, scratch, s, &s->op[program->first + i], r->data + r->offsets[row],
		       r->lengths[row], texts, row);
	head[n++] = 1 << 3;
	n += put_varint(head + n, c->stamps[row]);
	head[n++] = 2 << 3;
	n += put_varint(head + n, (uint32_t)c->pids[row]);
	size_t total = n + tag + varint_size(body->size) + body->size;
	to = reserve(out, total + 1 + LONGEST_VARINT);
	if (!to || body->failed)
		return;
	*to++ = 2 << 3 | 2;
	to += put_varint(to, total);
	memcpy(to, head, n);
	to += n;
	memcpy(to, s->heads + program->tag, tag);
	to += tag;
	to += put_varint(to, body->size);
	memcpy(to, body->data, body->size);
	out->size = (size_t)(to + body->size - out->data);
}

static int inside(int32_t start, int32_t size, Py_ssize_t all)
{
	return start >= 0 && size >= 0 && size <= MAX_TAG && (Py_ssize_t)start + size <= all;
}

/* Whether no program leads outside of anything. */
static int programs_sound(const struct programs *s, Py_ssize_t ntexts)
{
	for (Py_ssize_t i = 0; i < s->kinds; i++) {
		const struct program *p = &s->program[i];
		if (p->first < 0 || p->count < 0 || (Py_ssize_t)p->first + p->count > s->ops ||
		    !inside(p->tag, p->tag_size, s->heads_size) ||
		    !inside(p->lead, p->lead_size, s->heads_size))
			return 0;
	}
	for (Py_ssize_t i = 0; i < s->ops; i++) {
		const struct op *op = &s->op[i];
		int number = op->kind == UNSIGNED || op->kind == SIGNED || op->kind == REPEATED;
		int64_t count = op->count < 0 ? -(int64_t)op->count : op->count;
		int64_t width = op->kind == NUMBERS ? count : op->size;
		if (op->kind < 0 || op->kind > NUMBERS || op->at < 0 || op->at > 1 << 20 ||
		    op->size < 0 || op->size > 1 << 20 || count > 1 << 16 ||
		    (op->count < 0 && op->kind != NUMBERS) ||
		    !inside(op->head, op->head_size, s->heads_size) || op->wrapped < 0 ||
		    (op->kind == TEXT && op->at >= ntexts) ||
		    ((number || op->kind == NUMBERS) && width != 1 && width != 2 && width != 4 &&
		     width != 8))
			return 0;
	}
	return 1;
}

static int texts_sound(PyObject *list, Py_ssize_t n, struct text_column *texts, Py_buffer *held,
		       Py_ssize_t *count)
{
	Py_ssize_t size = PyTuple_Size(list);

	for (*count = 0; *count < size; ++*count) {
		Py_buffer *ends = &held[2 * *count], *values = ends + 1;
		const int64_t *e;
		Py_ssize_t i = 0;

		if (!PyArg_ParseTuple(PyTuple_GetItem(list, *count), "y*y*", ends, values))
			return 0;
		e = ends->buf;
		if (ends->len == (n + 1) * 8 && e[0] >= 0)
			while (i < n && e[i] <= e[i + 1])
				i++;
		if (ends->len != (n + 1) * 8 || i < n || e[0] < 0 || e[n] > values->len) {
			PyErr_SetString(PyExc_ValueError, "texts that do not fit");
			++*count;
			return 0;
		}
		texts[*count] = (struct text_column){e, values->buf};
	}
	return 1;
}

static PyObject *events(const struct records *r, const struct columns *c, const struct programs *s,
			const struct text_column *texts)
{
	struct buffer out = {0}, body = {0}, scratch = {0};
	PyObject *result = NULL;

	Py_BEGIN_ALLOW_THREADS
	reserve(&out, (size_t)r->n * 96 + GROWTH);
	reserve(&body, GROWTH);
	for (Py_ssize_t row = 0; row < r->n && !out.failed && !body.failed && !scratch.failed;
	     row++)
		put_event(&out, &body, &scratch, r, c, s, texts, row);
	Py_END_ALLOW_THREADS
	if (out.failed || body.failed || scratch.failed)
		PyErr_NoMemory();
	else
		result = PyBytes_FromStringAndSize((char *)out.data, (Py_ssize_t)out.size);
	free(out.data);
	free(body.data);
	free(scratch.data);
	return result;
}

static PyObject *encode(Py_buffer *b, PyObject *list)
{
	struct records r;
	struct text_column texts[MAX_TEXTS];
	Py_buffer held[2 * MAX_TEXTS];
	struct columns c = {b[3].buf, b[4].buf, b[5].buf};
	struct programs s = {b[6].buf, b[6].len / (Py_ssize_t)sizeof(struct program),
			     b[7].buf, b[7].len / (Py_ssize_t)sizeof(struct op),
			     b[8].buf, b[8].len};
	PyObject *result = NULL;
	Py_ssize_t count = 0;

	if (records_check(&r, &b[0], &b[1], &b[2]))
		return NULL;
	int sound = b[3].len == r.n * 8 && b[4].len == r.n * 4 && b[5].len == r.n * 4 &&
		    PyTuple_Size(list) <= MAX_TEXTS && programs_sound(&s, PyTuple_Size(list));
	for (Py_ssize_t i = 0; sound && i < r.n; i++)
		sound = c.kinds[i] >= 0 && c.kinds[i] < s.kinds;
	if (!sound)
		PyErr_SetString(PyExc_ValueError, "columns or programs that do not fit");
	else if (texts_sound(list, r.n, texts, held, &count))
		result = events(&r, &c, &s, texts);
	for (Py_ssize_t i = 0; i < 2 * count; i++)
		PyBuffer_Release(&held[i]);
	return result;
}

static PyObject *native_events(PyObject *self, PyObject *args)
{
	Py_buffer b[9];
	PyObject *texts, *result;

	(void)self;
	if (!PyArg_ParseTuple(args, "(y*y*y*)(y*y*y*)(y*y*y*)O!", &b[0], &b[1], &b[2], &b[3], &b[4],
			      &b[5], &b[6], &b[7], &b[8], &PyTuple_Type, &texts))
		return NULL;
	result = encode(b, texts);
	for (int i = 0; i < 9; i++)
		PyBuffer_Release(&b[i]);
	return result;
}

NATIVE_MODULE(perfetto, "Records as messages of Perfetto's trace format.",
	      {"events", native_events, METH_VARARGS,
	       "events(payloads, columns, programs, texts) -> FtraceEvents of a bundle"})
