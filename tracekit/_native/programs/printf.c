/* The kernel's printf: numbers and strings, as lib/vsprintf.c prints them. */
#include "program.h"

static int put_many(struct out *out, char c, size_t count)
{
	if (count > out->end - out->used)
		return -1;
	memset(out->text + out->used, c, count);
	out->used += count;
	return 0;
}

/* The digits of a number, written to end at `end`; returns how many. */
static size_t digits_of(uint64_t value, unsigned int flags, char *end)
{
	const char *hex = flags & UPPER ? "0123456789ABCDEF" : "0123456789abcdef";
	char *p = end;

	switch (flags & BASE) {
	case HEX:
		do
			*--p = hex[value & 15];
		while (value >>= 4);
		break;
	case OCTAL:
		do
			*--p = (char)('0' + (value & 7));
		while (value >>= 3);
		break;
	default: p = decimal_before(end, value);
	}
	return (size_t)(end - p);
}

/* number() */
int put_number(struct out *out, uint64_t value, const struct spec *spec)
{
	unsigned int flags = spec->flags, base = flags & BASE;
	char digits[24], *end = digits + sizeof(digits), before[4];
	int negative = base == SIGNED && (int64_t)value < 0;
	size_t count, lead = 0, width = spec->width;

	if (negative)
		before[lead++] = '-';
	else if (base == SIGNED && flags & (PLUS | SPACE))
		before[lead++] = flags & PLUS ? '+' : ' ';
	if (flags & SHARP && (base == HEX || (base == OCTAL && value)))
		before[lead++] = '0';
	if (flags & SHARP && base == HEX)
		before[lead++] = flags & UPPER ? 'X' : 'x';
	count = digits_of(negative ? 0 - value : value, flags, end);
	if (!width && spec->precision < 0) /* as most are */
		return put_text(out, before, lead) || put_text(out, end - count, count) ? -1 : 0;
	size_t zeros = spec->precision > (int64_t)count ? (size_t)spec->precision - count : 0;
	size_t size = lead + zeros + count, gap = width > size ? width - size : 0;

	if (!(flags & MINUS) && flags & ZERO) {
		zeros += gap;
		gap = 0;
	}
	if (!(flags & MINUS) && put_many(out, ' ', gap))
		return -1;
	if (put_text(out, before, lead) || put_many(out, '0', zeros) ||
	    put_text(out, end - count, count))
		return -1;
	return flags & MINUS ? put_many(out, ' ', gap) : 0;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static int is_ascii(const char *text, size_t size)
{
	uint64_t all = 0, some;

	for (; size >= sizeof(some); text += sizeof(some), size -= sizeof(some)) {
		memcpy(&some, text, sizeof(some));
		all |= some;
	}
	for (; size; size--)
		all |= (unsigned char)*text++;
	return !(all & EACH(0x80));
}

/* Characters up to a NUL; those that are not ASCII are for Python, which knows how wide they are. */
int put_string(struct out *out, struct span s, const struct spec *spec)
{
	size_t size = s.size, gap;
	const void *nul;

	if (spec->precision >= 0 && (uint64_t)spec->precision < size)
		size = (size_t)spec->precision;
	nul = size ? memchr(s.at, 0, size) : NULL;
	if (nul)
		size = (size_t)((const uint8_t *)nul - s.at);
	if (spec->flags & NO_NEWLINE && size && s.at[size - 1] == '\n')
		size--;
	if (!is_ascii((const char *)s.at, size))
		return -1;
	gap = spec->width > size ? spec->width - size : 0;
	if (!(spec->flags & MINUS) && put_many(out, ' ', gap))
		return -1;
	if (put_text(out, (const char *)s.at, size))
		return -1;
	return spec->flags & MINUS ? put_many(out, ' ', gap) : 0;
}

/* widen_string(): what was printed since `mark`, cut and padded. */
int pad_from(struct out *out, size_t mark, const struct spec *spec)
{
	size_t size = out->used - mark, gap;
	char *text = out->text + mark;

	if (!is_ascii(text, size))
		return -1;
	if (spec->precision >= 0 && (uint64_t)spec->precision < size)
		size = (size_t)spec->precision;
	out->used = mark + size;
	gap = spec->width > size ? spec->width - size : 0;
	if (put_many(out, ' ', gap))
		return -1;
	if (gap && !(spec->flags & MINUS)) {
		memmove(text + gap, text, size);
		memset(text, ' ', gap);
	}
	return 0;
}

/* The letter after a backslash that stands for a character in JSON, 'u' for four digits, or 0. */
static char escape_of(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\': return (char)c;
	case '\b': return 'b';
	case '\t': return 't';
	case '\n': return 'n';
	case '\f': return 'f';
	case '\r': return 'r';
	default: return c < 32 || c == 127 ? 'u' : 0;
	}
}

/* Not 0 if one of eight bytes is 0. */
static uint64_t has_zero(uint64_t bytes) { return (bytes - EACH(1)) & ~bytes & EACH(0x80); }

/* Whether text is ASCII, and nothing in it is escaped in JSON. */
static int is_plain(const char *text, size_t size)
{
	uint64_t found = 0, some;

	for (; size >= sizeof(some); text += sizeof(some), size -= sizeof(some)) {
		memcpy(&some, text, sizeof(some));
		found |= ((some - EACH(32)) & ~some) | some; /* below 32, or not ASCII */
		found |= has_zero(some ^ EACH('"')) | has_zero(some ^ EACH('\\')) |
			 has_zero(some ^ EACH(127));
	}
	for (; size; size--, text++)
		found |= (*text & 0x80) | (escape_of((unsigned char)*text) ? 0x80 : 0);
	return !(found & EACH(0x80));
}

/* What was printed since `mark`, as inside a string of JSON: json.dumps() writes it so. */
int escape_from(struct out *out, size_t mark)
{
	static const char hex[] = "0123456789abcdef";
	size_t size = out->used - mark, more = 0;
	char *text = out->text + mark;

	if (is_plain(text, size))
		return 0;
	if (!is_ascii(text, size))
		return -1;
	for (size_t i = 0; i < size; i++) {
		char letter = escape_of((unsigned char)text[i]);

		more += letter ? letter == 'u' ? 5 : 1 : 0;
	}
	if (more > out->end - out->used)
		return -1;
	out->used += more;
	for (size_t i = size, to = size + more; to > i;) {
		char c = text[--i], letter = escape_of((unsigned char)c);

		if (letter == 'u') {
			const char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

			memcpy(text + (to -= sizeof(six)), six, sizeof(six));
			continue;
		}
		text[--to] = letter ? letter : c;
		if (letter)
			text[--to] = '\\';
	}
	return 0;
}

/* What was printed since `mark`, as inside a quoted cell of CSV. What a spreadsheet might run is for
 * Python, which guards it: export/cells.py.
 */
int cell_from(struct out *out, size_t mark)
{
	size_t size = out->used - mark, more = 0;
	char *text = out->text + mark;
	const char *quote;

	if (!is_ascii(text, size) || (size && text[0] && strchr("'=+-@\t\r\n", text[0])))
		return -1;
	quote = memchr(text, '"', size);
	if (!quote)
		return 0;
	for (size_t i = (size_t)(quote - text); i < size; i++)
		more += text[i] == '"';
	if (more > out->end - out->used)
		return -1;
	out->used += more;
	for (size_t i = size, to = size + more; to > i;) {
		char c = text[--i];

		text[--to] = c;
		if (c == '"')
			text[--to] = c;
	}
	return 0;
}
