/* Checks a program before it runs: what every instruction names is there, and the stacks fit. */
#include "program.h"

#include <stdlib.h>

struct effect {
	uint8_t ints_in, ints_out, spans_in, spans_out, marks_in, marks_out;
};

#define EFFECT(name, ...) [OP_##name] = {__VA_ARGS__},
static const struct effect effects[OPERATION_COUNT] = {OPERATIONS(EFFECT)};
#undef EFFECT

/* How much is on the stacks before an instruction; `known`: something leads there. */
struct depth {
	uint8_t known, ints, spans, marks;
};

static int is_type(unsigned int type)
{
	unsigned int size = type & TYPE_SIZE, rest = type & ~(unsigned int)TYPE_SIZE;

	if (rest == TYPE_BOOLEAN)
		return size == 1;
	return (size == 1 || size == 2 || size == 4 || size == 8) &&
	       (rest == 0 || rest == TYPE_SIGNED);
}

/* Integers on the stack for the width and precision of a conversion. */
static unsigned int stars(const struct insn *i)
{
	switch (i->op) {
	case OP_NUMBER:
	case OP_STRING:
	case OP_PAD: return !!(i->b & STAR_WIDTH) + !!(i->b & STAR_PRECISION);
	case OP_POINTER: return !!(i->b & STAR_WIDTH);
	default: return 0;
	}
}

static int sizes_ok(const struct insn *i)
{
	return !(i->b & ~(STAR_WIDTH | STAR_PRECISION | FIXED_WIDTH)) && i->c <= FIXED_WIDTH;
}

/* Whether what an instruction names is there. */
static int operands_ok(const struct program *p, uint32_t at)
{
	const struct insn *i = &p->code[at];

	switch (i->op) {
	case OP_LOAD:
		return is_type(i->a) && i->c <= p->need && (i->a & TYPE_SIZE) <= p->need - i->c;
	case OP_FIXED: return i->c <= p->need && i->b <= p->need - i->c;
	case OP_DYNAMIC:
	case OP_CLIPPED: return i->c <= p->need && 4 <= p->need - i->c;
	case OP_CONST: return i->c < p->constant_count;
	case OP_LOCAL:
	case OP_SET:
	case OP_SPAN:
	case OP_SET_SPAN: return i->c < MAX_LOCALS;
	case OP_CONVERT:
	case OP_ELEMENT:
	case OP_ARRAY:
	case OP_INTEGERS: return is_type(i->a);
	case OP_BINARY: return i->a < BINARY_COUNT;
	case OP_UNARY: return i->a < UNARY_COUNT;
	case OP_JUMP:
	case OP_JUMP_ZERO: return i->c > at && i->c < p->size;
	case OP_ADVANCE: return i->c >= 1 && i->c <= MAX_NEED;
	case OP_TEXT: return i->c <= p->text_size && i->b <= p->text_size - i->c;
	case OP_NUMBER:
	case OP_STRING:
	case OP_PAD:
	case OP_CHARACTER: return sizes_ok(i);
	case OP_POINTER: return i->a < POINTER_COUNT && !(i->b & ~(STAR_WIDTH | FIXED_WIDTH));
	case OP_FLAGS: return i->c < p->table_count && p->tables[i->c].count;
	case OP_SYMBOLIC: return i->c < p->table_count;
	case OP_LEARNED:
	case OP_STACK: return i->c < p->table_count;
	default: return 1;
	}
}

/* Takes `in` + `more` from a stack and puts `out` on it; returns 0 if that does not fit. */
static int moved(uint8_t *depth, unsigned int in, unsigned int out)
{
	if (*depth < in || *depth - in + out > MAX_DEPTH)
		return 0;
	*depth = (uint8_t)(*depth - in + out);
	return 1;
}

/* The depths before `to` are `d`, by whatever way it is reached. */
static int reached(struct depth *to, const struct depth *d)
{
	if (to->known)
		return !memcmp(to, d, sizeof(*d));
	*to = *d;
	return 1;
}

static const char *stacks_wrong(const struct program *p, struct depth *depths)
{
	depths[0].known = 1;
	for (uint32_t at = 0; at < p->size; at++) {
		const struct insn *i = &p->code[at];
		struct depth d = depths[at];
		const struct effect *e;

		if (i->op >= OPERATION_COUNT)
			return "no such operation";
		if (!d.known)
			return "an instruction that nothing leads to";
		if (!operands_ok(p, at))
			return "an operand that is not there";
		e = &effects[i->op];
		if (!moved(&d.ints, e->ints_in + stars(i), e->ints_out) ||
		    !moved(&d.spans, e->spans_in, e->spans_out) ||
		    !moved(&d.marks, e->marks_in, e->marks_out))
			return "a stack that is too short or too deep";
		if ((i->op == OP_JUMP || i->op == OP_JUMP_ZERO) && !reached(&depths[i->c], &d))
			return "stacks that differ by the way";
		if (i->op == OP_JUMP || i->op == OP_END)
			continue;
		if (at + 1 == p->size)
			return "no end";
		if (!reached(&depths[at + 1], &d))
			return "stacks that differ by the way";
	}
	return NULL;
}

static uint32_t locals_of(const struct program *p)
{
	uint32_t used = 0;

	for (const struct insn *i = p->code; i < p->code + p->size; i++)
		switch (i->op) {
		case OP_LOCAL:
		case OP_SET:
		case OP_SPAN:
		case OP_SET_SPAN: used = i->c >= used ? i->c + 1 : used;
		}
	return used;
}

const char *program_wrong(struct program *p)
{
	struct depth *depths;
	const char *wrong;

	if (!p->size || p->size > MAX_CODE)
		return "no instructions, or too many";
	if (p->need > MAX_NEED)
		return "a record that is too long";
	depths = calloc(p->size, sizeof(*depths));
	if (!depths)
		return "no memory";
	wrong = stacks_wrong(p, depths);
	p->locals = wrong ? 0 : locals_of(p);
	free(depths);
	return wrong;
}
