/* Runs a program over one record. verify.c has checked all that does not depend on the record. */
#include "program.h"

/* A shift by the CPU's rule; everything else wraps round, as the kernel is compiled. */
static int binary(enum binary op, uint64_t a, uint64_t b, uint64_t *result)
{
	int64_t x = (int64_t)a, y = (int64_t)b;

	if ((op == DIV || op == UDIV || op == MOD || op == UMOD) && !b)
		return -1;
	switch (op) {
	case ADD: *result = a + b; break;
	case SUB: *result = a - b; break;
	case MUL: *result = a * b; break;
	case DIV: *result = y == -1 ? 0 - a : (uint64_t)(x / y); break;
	case UDIV: *result = a / b; break;
	case MOD: *result = y == -1 ? 0 : (uint64_t)(x % y); break;
	case UMOD: *result = a % b; break;
	case AND: *result = a & b; break;
	case OR: *result = a | b; break;
	case XOR: *result = a ^ b; break;
	case SHL: *result = a << (b & 63); break;
	case SHR: *result = x < 0 ? ~(~a >> (b & 63)) : a >> (b & 63); break;
	case USHR: *result = a >> (b & 63); break;
	case EQ: *result = a == b; break;
	case NE: *result = a != b; break;
	case LT: *result = x < y; break;
	case ULT: *result = a < b; break;
	case LE: *result = x <= y; break;
	case ULE: *result = a <= b; break;
	case GT: *result = x > y; break;
	case UGT: *result = a > b; break;
	case GE: *result = x >= y; break;
	default: *result = a >= b; break;
	}
	return 0;
}

static uint64_t unary(enum unary op, uint64_t a)
{
	switch (op) {
	case INVERT: return ~a;
	case NEGATE: return 0 - a;
	case NOT: return !a;
	case SWAP16: return __builtin_bswap16((uint16_t)a);
	case SWAP32: return __builtin_bswap32((uint32_t)a);
	case SWAP64: return __builtin_bswap64(a);
	case FIRST_SET: return a ? (uint64_t)__builtin_ctzll(a) + 1 : 0;
	default: return (uint64_t)__builtin_popcountll(a);
	}
}

/* Where the u32 at `offset` says that a dynamic array is; -1 if not inside the record. */
static int dynamic(struct span record, uint32_t offset, uint32_t base, int clip, struct span *s)
{
	uint32_t loc = load32(record.at + offset), from = base + (loc & 0xffff), size = loc >> 16;

	if (from > record.size) {
		if (!clip)
			return -1;
		from = record.size;
	}
	if (size > record.size - from) {
		if (!clip)
			return -1;
		size = record.size - from;
	}
	*s = (struct span){record.at + from, size};
	return 0;
}

/* `index` elements further; -1 beyond the span's end. */
static int advance(struct span *s, int64_t index, uint32_t size)
{
	if (index < 0 || (uint64_t)index > s->size / size)
		return -1;
	s->at += (uint64_t)index * size;
	s->size -= (uint32_t)index * size;
	return 0;
}

static int element(struct span s, int64_t index, unsigned int type, uint64_t *value)
{
	unsigned int size = type & TYPE_SIZE;

	if (advance(&s, index, size) || s.size < size)
		return -1;
	*value = load(s.at, type);
	return 0;
}

static int cut(struct span *s, int64_t size)
{
	if (size < 0)
		size = 0;
	if ((uint64_t)size > s->size)
		return -1;
	s->size = (uint32_t)size;
	return 0;
}

/* The sizes of a conversion, those on the stack taken off it: set_field_width(), set_precision(). */
static uint64_t *resolve(const struct insn *i, uint64_t *top, struct spec *spec)
{
	*spec = (struct spec){i->a, i->b & FIXED_WIDTH, (int64_t)i->c - 1};
	if (i->b & STAR_PRECISION) {
		int64_t given = (int32_t)*--top;

		spec->precision = given < 0 ? 0 : given < 1 << 15 ? given : (1 << 15) - 1;
	}
	if (i->b & STAR_WIDTH) {
		int64_t given = (int32_t)*--top;

		if (given < 0) {
			given = -given;
			spec->flags |= MINUS;
		}
		spec->width = given > 1 << 16 ? 1 << 16 : (uint32_t)given;
	}
	return top;
}

/* The text of the key at `index`. */
static int put_known(struct out *out, const struct table *t, int64_t index)
{
	const int64_t *place = t->places + 2 * index;

	return put_text(out, t->values + place[0], (size_t)(place[1] - place[0]));
}

/* trace_print_flags_seq(); the last text is the delimiter. */
static int put_flags(struct out *out, uint64_t flags, const struct table *t, int whole)
{
	const struct spec hex = {HEX | SHARP, 0, -1};
	uint32_t last = t->count - 1;
	int further = 0;

	for (uint32_t i = 0; i < last && flags; i++) {
		if ((flags & t->keys[i]) != t->keys[i])
			continue;
		flags &= ~t->keys[i];
		if ((further && put_known(out, t, last)) || put_known(out, t, i))
			return -1;
		further = 1;
	}
	if (!flags)
		return 0;
	if ((further && put_known(out, t, last)) || (!whole && put_text(out, "(?", 2)) ||
	    put_number(out, flags, &hex))
		return -1;
	return whole ? 0 : put_text(out, ")", 1);
}

static int put_symbolic(struct out *out, uint64_t value, const struct table *t, int whole)
{
	const struct spec hex = {HEX | SHARP, 0, -1};
	int64_t i = table_find(t, value);

	if (i >= 0)
		return put_known(out, t, i);
	if (!whole && put_text(out, "(?", 2))
		return -1;
	return put_number(out, value, &hex) || (!whole && put_text(out, ")", 1)) ? -1 : 0;
}

static int put_character(struct out *out, const struct insn *i, uint64_t value)
{
	const struct spec spec = {i->a, i->b & FIXED_WIDTH, -1};
	const char c = (char)value;

	return put_text(out, &c, 1) || pad_from(out, out->used - 1, &spec) ? -1 : 0;
}

static struct span tail(struct span record, uint32_t offset)
{
	uint32_t from = offset < record.size ? offset : record.size;

	return (struct span){record.at + from, record.size - from};
}

/* One record being printed. */
struct run {
	const struct program *program;
	struct out *out;
	missed_fn missed;
	void *context;
	int missing;
};

static int put_learned(struct run *r, uint32_t table, uint64_t key)
{
	const struct table *t = &r->program->tables[table];
	int64_t i = table_find(t, key);

	if (i < 0) {
		r->missed(r->context, table, key);
		r->missing = 1;
		return 0;
	}
	return put_known(r->out, t, i);
}

/* trace_stack_print(): addresses up to ULONG_MAX, each on a line. */
static int put_stack(struct run *r, uint32_t table, struct span s)
{
	for (; s.size >= 8; s.at += 8, s.size -= 8) {
		uint64_t ip = load64(s.at);

		if (ip == UINT64_MAX)
			break;
		if (put_text(r->out, "\n => ", 5) || put_learned(r, table, ip))
			return -1;
	}
	return 0;
}

/* Whether the record is long enough; then what the program uses is cleared. */
static int ready(const struct program *p, struct span record, uint64_t *locals, struct span *spans)
{
	for (uint32_t i = 0; i < p->locals; i++) {
		locals[i] = 0;
		spans[i] = (struct span){0};
	}
	return record.size >= p->need;
}

#define TRY(call)                                                                                  \
	if (call)                                                                                  \
	return FAILED

enum status program_run(const struct program *p, struct span record, struct out *out,
			missed_fn missed, void *context)
{
	uint64_t ints[MAX_DEPTH + 1], locals[MAX_LOCALS], *top = ints;
	struct span spans[MAX_DEPTH + 1], local_spans[MAX_LOCALS], *s = spans;
	size_t marks[MAX_DEPTH + 1], *mark = marks;
	struct run r = {p, out, missed, context, 0};
	struct spec spec;

	if (!ready(p, record, locals, local_spans))
		return FAILED;
	for (const struct insn *i = p->code;; i++) {
		switch ((enum operation)i->op) {
		case OP_END: return r.missing ? MISSED : PRINTED;
		case OP_LOAD: *top++ = load(record.at + i->c, i->a); break;
		case OP_CONST: *top++ = p->constants[i->c]; break;
		case OP_LENGTH: *top++ = record.size; break;
		case OP_LOCAL: *top++ = locals[i->c]; break;
		case OP_SET: locals[i->c] = *--top; break;
		case OP_CONVERT: top[-1] = convert(top[-1], i->a); break;
		case OP_BINARY:
			top--;
			TRY(binary(i->a, top[-1], top[0], &top[-1]));
			break;
		case OP_UNARY: top[-1] = unary(i->a, top[-1]); break;
		case OP_JUMP: i = p->code + i->c - 1; break;
		case OP_JUMP_ZERO:
			if (!*--top)
				i = p->code + i->c - 1;
			break;
		case OP_FIXED: *s++ = (struct span){record.at + i->c, i->b}; break;
		case OP_TAIL: *s++ = tail(record, i->c); break;
		case OP_DYNAMIC:
		case OP_CLIPPED: TRY(dynamic(record, i->c, i->b, i->op == OP_CLIPPED, s++)); break;
		case OP_ADVANCE: TRY(advance(&s[-1], (int64_t)*--top, i->c)); break;
		case OP_ELEMENT: TRY(element(*--s, (int64_t)top[-1], i->a, &top[-1])); break;
		case OP_CUT: TRY(cut(&s[-1], (int64_t)*--top)); break;
		case OP_SPAN: *s++ = local_spans[i->c]; break;
		case OP_SET_SPAN: local_spans[i->c] = *--s; break;
		case OP_TEXT: TRY(put_text(out, p->texts + i->c, i->b)); break;
		case OP_NUMBER:
			top = resolve(i, top, &spec);
			TRY(put_number(out, *--top, &spec));
			break;
		case OP_CHARACTER: TRY(put_character(out, i, *--top)); break;
		case OP_STRING:
			top = resolve(i, top, &spec);
			TRY(put_string(out, *--s, &spec));
			break;
		case OP_MARK: *mark++ = out->used; break;
		case OP_PAD:
			top = resolve(i, top, &spec);
			TRY(pad_from(out, *--mark, &spec));
			break;
		case OP_POINTER:
			top = resolve(&(struct insn){.b = i->b}, top, &spec);
			TRY(put_pointer(out, *--s, i->a, spec.width, i->c));
			break;
		case OP_ARRAY: TRY(put_array(out, *--s, i->a & TYPE_SIZE)); break;
		case OP_INTEGERS: TRY(put_integers(out, *--s, i->a, i->b)); break;
		case OP_FLAGS: TRY(put_flags(out, *--top, &p->tables[i->c], i->a)); break;
		case OP_SYMBOLIC: TRY(put_symbolic(out, *--top, &p->tables[i->c], i->a)); break;
		case OP_LEARNED: TRY(put_learned(&r, i->c, *--top)); break;
		case OP_STACK: TRY(put_stack(&r, i->c, *--s)); break;
		case OP_ESCAPE:
			mark--;
			TRY(i->a ? cell_from(out, *mark) : escape_from(out, *mark));
			break;
		case OP_FAIL:
		default: return FAILED;
		}
	}
}
