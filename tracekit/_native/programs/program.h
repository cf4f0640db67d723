/* Programs that print records: what tracekit/ftrace/programs makes of a print fmt.
 *
 * A program is an array of instructions for a machine with three stacks: integers of 64 bits,
 * spans (bytes inside the record) and marks (places in the output). Jumps lead forward, so that
 * every instruction is executed once at most. verify.c checks all of it before a program runs; what
 * depends on the record is checked when it does. A record that a program cannot print fails, and is
 * printed by the evaluator in Python, which says what it should have been.
 */
#ifndef TRACEKIT_PROGRAM_H
#define TRACEKIT_PROGRAM_H

#include "../records.h"

enum {
	MAX_DEPTH = 32,	    /* of each stack */
	MAX_LOCALS = 16,    /* integers, and as many spans */
	MAX_CODE = 1 << 16, /* instructions */
	MAX_NEED = 1 << 16, /* bytes of a record */
	MAX_TABLES = 256,
	MAX_KEYS = 1 << 30,  /* of a table */
	MAX_TEXT = 1 << 16,  /* bytes printed of one record */
	STAR_WIDTH = 0x8000, /* in insn.b: on the stack; else the width itself */
	STAR_PRECISION = 0x4000,
	FIXED_WIDTH = 0x0fff,
};

/* Name, integers it takes and gives, spans it takes and gives, marks it takes and gives. */
#define OPERATIONS(X)                                                                              \
	X(END, 0, 0, 0, 0, 0, 0)                                                                   \
	X(FAIL, 0, 0, 0, 0, 0, 0)      /* the record is not printed here */                        \
	X(LOAD, 0, 1, 0, 0, 0, 0)      /* a: type, c: offset */                                    \
	X(CONST, 0, 1, 0, 0, 0, 0)     /* c: index of the constant */                              \
	X(LENGTH, 0, 1, 0, 0, 0, 0)    /* of the record */                                         \
	X(LOCAL, 0, 1, 0, 0, 0, 0)     /* c: index of the local */                                 \
	X(SET, 1, 0, 0, 0, 0, 0)       /* c: index of the local */                                 \
	X(CONVERT, 1, 1, 0, 0, 0, 0)   /* a: type */                                               \
	X(BINARY, 2, 1, 0, 0, 0, 0)    /* a: enum binary */                                        \
	X(UNARY, 1, 1, 0, 0, 0, 0)     /* a: enum unary */                                         \
	X(JUMP, 0, 0, 0, 0, 0, 0)      /* c: to which instruction */                               \
	X(JUMP_ZERO, 1, 0, 0, 0, 0, 0) /* c: to which instruction */                               \
	X(FIXED, 0, 0, 0, 1, 0, 0)     /* b: size, c: offset */                                    \
	X(TAIL, 0, 0, 0, 1, 0, 0)      /* c: offset; up to the record's end */                     \
	X(DYNAMIC, 0, 0, 0, 1, 0, 0)   /* b: what its offset is relative to, c: offset of both */  \
	X(CLIPPED, 0, 0, 0, 1, 0, 0)   /* the same, cut where the record ends */                   \
	X(ADVANCE, 1, 0, 1, 1, 0, 0)   /* c: size of an element */                                 \
	X(ELEMENT, 1, 1, 1, 0, 0, 0)   /* a: type */                                               \
	X(CUT, 1, 0, 1, 1, 0, 0)       /* to so many bytes, which must be there */                 \
	X(SPAN, 0, 0, 0, 1, 0, 0)      /* c: index of the local span */                            \
	X(SET_SPAN, 0, 0, 1, 0, 0, 0)  /* c: index of the local span */                            \
	X(TEXT, 0, 0, 0, 0, 0, 0)      /* b: size, c: offset in the texts */                       \
	X(NUMBER, 1, 0, 0, 0, 0, 0)    /* a: flags, b: width, c: precision + 1 */                  \
	X(CHARACTER, 1, 0, 0, 0, 0, 0) /* a: flags, b: width */                                    \
	X(STRING, 0, 0, 1, 0, 0, 0)    /* a: flags, b: width, c: precision + 1 */                  \
	X(MARK, 0, 0, 0, 0, 0, 1)                                                                  \
	X(PAD, 0, 0, 0, 0, 1, 0)      /* what follows the mark: as STRING */                       \
	X(POINTER, 0, 0, 1, 0, 0, 0)  /* a: enum pointer, b: width, c: its options */              \
	X(ARRAY, 0, 0, 1, 0, 0, 0)    /* a: type of an element */                                  \
	X(INTEGERS, 0, 0, 1, 0, 0, 0) /* a: type of an element, b: in hexadecimal; as JSON */      \
	X(FLAGS, 1, 0, 0, 0, 0, 0)    /* a: whole, c: table, the delimiter its last text */        \
	X(SYMBOLIC, 1, 0, 0, 0, 0, 0) /* a: whole, c: table, sorted */                             \
	X(LEARNED, 1, 0, 0, 0, 0, 0)  /* c: table, sorted; what is not there is missed */          \
	X(STACK, 0, 0, 1, 0, 0, 0)    /* c: table of addresses, as for LEARNED */                  \
	X(ESCAPE, 0, 0, 0, 0, 1,                                                                   \
	  0) /* what follows the mark, in a string of JSON; a: a cell of CSV */

#define NAMED(name, ...) OP_##name,
enum operation { OPERATIONS(NAMED) OPERATION_COUNT };
#undef NAMED

/* insn.a of LOAD, CONVERT, ELEMENT, ARRAY: bytes, and how they are read. */
enum { TYPE_SIZE = 0x0f, TYPE_SIGNED = 0x10, TYPE_BOOLEAN = 0x20 };

/* clang-format off */
#define BINARY_OPERATIONS(X)                                                                       \
	X(ADD) X(SUB) X(MUL) X(DIV) X(UDIV) X(MOD) X(UMOD) X(AND) X(OR) X(XOR) X(SHL) X(SHR)       \
	X(USHR) X(EQ) X(NE) X(LT) X(ULT) X(LE) X(ULE) X(GT) X(UGT) X(GE) X(UGE)
/* clang-format on */
#define UNARY_OPERATIONS(X)                                                                        \
	X(INVERT) X(NEGATE) X(NOT) X(SWAP16) X(SWAP32) X(SWAP64) X(FIRST_SET) X(BITS_SET)
#define POINTER_KINDS(X)                                                                           \
	X(HEX_BYTES) X(BITMAP) X(MAC) X(IP4) X(IP6) X(UUID) X(ALL_BYTES) X(ALL_BITS)

#define ENUMERATED(name) name,
enum binary { BINARY_OPERATIONS(ENUMERATED) BINARY_COUNT };
enum unary { UNARY_OPERATIONS(ENUMERATED) UNARY_COUNT };
enum pointer { POINTER_KINDS(ENUMERATED) POINTER_COUNT }; /* insn.a of POINTER */
#undef ENUMERATED

/* insn.a of NUMBER, and MINUS of the others. */
enum {
	DECIMAL,
	SIGNED,
	HEX,
	OCTAL,
	BASE = 3,
	MINUS = 4,
	PLUS = 8,
	SPACE = 16,
	SHARP = 32,
	ZERO = 64,
	UPPER = 128,
	NO_NEWLINE = PLUS, /* of STRING */
};

/* insn.c of POINTER: a separator, and what else is asked for. */
enum {
	OPTION_SEPARATOR = 0xff,
	OPTION_UPPER = 0x100,
	OPTION_REVERSED = 0x200,
	OPTION_LIST = 0x400,
	OPTION_PADDED = 0x800,
	OPTION_COMPACT = 0x1000,
};

struct insn {
	uint8_t op, a;
	uint16_t b;
	uint32_t c;
};

/* Texts by number: keys[i] has values[places[2 * i]..places[2 * i + 1]). */
struct table {
	const uint64_t *keys;
	const int64_t *places;
	const char *values;
	uint32_t count, mask;
	uint32_t *slots; /* 1 + where a key is, by its hash or a little behind; 0: no key */
};

struct program {
	const struct insn *code;
	const uint64_t *constants;
	const char *texts;
	struct table tables[MAX_TABLES];
	uint32_t size, constant_count, text_size, table_count;
	uint32_t need;	 /* bytes that a record must have: all its fixed fields */
	uint32_t locals; /* how many it uses; program_wrong() counts them */
};

struct span {
	const uint8_t *at;
	uint32_t size;
};

/* What is printed. `end` is the limit for this record; there is room up to it. */
struct out {
	char *text;
	size_t used, end;
};

/* A conversion of printf with its sizes. */
struct spec {
	unsigned int flags;
	uint32_t width;
	int64_t precision; /* negative: none */
};

/* A key that a table of LEARNED or STACK does not have. */
struct miss {
	uint64_t table, key;
};

enum status { PRINTED, FAILED, MISSED };

/* verify.c: NULL, or what is wrong with a program. */
const char *program_wrong(struct program *p);
/* machine.c: prints one record; `missed` is called for every key that is missing. */
typedef void (*missed_fn)(void *, uint32_t table, uint64_t key);
enum status program_run(const struct program *p, struct span record, struct out *out,
			missed_fn missed, void *context);
/* tables.c */
int64_t table_find(const struct table *t, uint64_t key);

/* printf.c, pointers.c: 0, or -1 where the text is too long or not ASCII. */
int put_number(struct out *out, uint64_t value, const struct spec *spec);
int put_string(struct out *out, struct span s, const struct spec *spec);
int pad_from(struct out *out, size_t mark, const struct spec *spec);
int escape_from(struct out *out, size_t mark);
int cell_from(struct out *out, size_t mark);
int put_pointer(struct out *out, struct span s, enum pointer kind, uint32_t width,
		uint32_t options);
int put_array(struct out *out, struct span s, unsigned int size);
int put_integers(struct out *out, struct span s, unsigned int type, int as_hex);

static inline int put_text(struct out *out, const char *text, size_t size)
{
	if (size > out->end - out->used)
		return -1;
	copy_text(out->text + out->used, text, size);
	out->used += size;
	return 0;
}

static inline uint64_t load_unsigned(const uint8_t *p, unsigned int size)
{
	uint64_t value = 0;

	switch (size) {
	case 1: return *p;
	case 2: return load16(p);
	case 4: return load32(p);
	default: memcpy(&value, p, 8); return value;
	}
}

/* `value` converted to a type, as 64 bits: with its sign, or zeros before it. */
static inline uint64_t convert(uint64_t value, unsigned int type)
{
	switch (type) {
	case 1: return (uint8_t)value;
	case 2: return (uint16_t)value;
	case 4: return (uint32_t)value;
	case 1 | TYPE_SIGNED: return (uint64_t)(int64_t)(int8_t)value;
	case 2 | TYPE_SIGNED: return (uint64_t)(int64_t)(int16_t)value;
	case 4 | TYPE_SIGNED: return (uint64_t)(int64_t)(int32_t)value;
	default: return type & TYPE_BOOLEAN ? value != 0 : value;
	}
}

static inline uint64_t load(const uint8_t *p, unsigned int type)
{
	return convert(load_unsigned(p, type & TYPE_SIZE), type & (TYPE_SIZE | TYPE_SIGNED));
}

#endif
