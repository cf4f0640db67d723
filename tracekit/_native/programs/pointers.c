/* Bytes of a record as text: what %p's extensions print, bitmaps, arrays. */
#include "program.h"

static const char LOWER[] = "0123456789abcdef";
static const char CAPITAL[] = "0123456789ABCDEF";
static const struct spec PLAIN = {DECIMAL, 0, -1};

enum { MOST_HEX = 64 }; /* hex_string() */

static int put_char(struct out *out, char c) { return put_text(out, &c, 1); }

/* `count` bytes, two digits each, `separator` (0: none) between them. */
static int put_hex(struct out *out, const uint8_t *p, size_t count, char separator, int upper)
{
	const char *digits = upper ? CAPITAL : LOWER;

	for (size_t i = 0; i < count; i++) {
		const char text[3] = {separator, digits[p[i] >> 4], digits[p[i] & 15]};
		int skip = !separator || !i;

		if (put_text(out, text + skip, sizeof(text) - (size_t)skip))
			return -1;
	}
	return 0;
}

/* The same, with nothing between a group of so many bytes and the next one (0: all are one). */
static int put_hex_groups(struct out *out, struct span s, char separator, uint32_t group)
{
	for (uint32_t i = 0, size; i < s.size; i += size) {
		size = group && group < s.size - i ? group : s.size - i;
		if (put_hex(out, s.at + i, size, separator, 0))
			return -1;
	}
	return 0;
}

static unsigned int bit(const uint8_t *p, uint32_t number)
{
	return p[number / 8] >> number % 8 & 1;
}

/* bitmap_list_string() */
static int put_bit_list(struct out *out, const uint8_t *p, uint32_t bits)
{
	const char *comma = "";

	for (uint32_t low = 0; low < bits; low++) {
		uint32_t high = low;

		if (!bit(p, low))
			continue;
		while (high + 1 < bits && bit(p, high + 1))
			high++;
		if (put_text(out, comma, strlen(comma)) || put_number(out, low, &PLAIN))
			return -1;
		if (high > low && (put_char(out, '-') || put_number(out, high, &PLAIN)))
			return -1;
		comma = ",";
		low = high;
	}
	return 0;
}

/* bitmap_string(): words of 32 bits, the highest first. */
static int put_bitmap(struct out *out, const uint8_t *p, uint32_t bits)
{
	for (uint32_t words = (bits + 31) / 32; words--;) {
		uint32_t low = words * 32, wide = bits - low < 32 ? bits - low : 32, value = 0;
		struct spec spec = {HEX | ZERO, (wide + 3) / 4, -1};

		for (uint32_t i = 0; i < wide; i++)
			value |= (uint32_t)bit(p, low + i) << i;
		if (put_number(out, value, &spec) || (words && put_char(out, ',')))
			return -1;
	}
	return 0;
}

static void reversed(uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size / 2; i++) {
		uint8_t other = p[size - 1 - i];

		p[size - 1 - i] = p[i];
		p[i] = other;
	}
}

static int put_ip4(struct out *out, const uint8_t *p, uint32_t options)
{
	struct spec spec = {ZERO, options & OPTION_PADDED ? 3 : 0, -1};
	uint8_t quads[4];

	memcpy(quads, p, sizeof(quads));
	if (options & OPTION_REVERSED)
		reversed(quads, sizeof(quads));
	for (int i = 0; i < 4; i++)
		if ((i && put_char(out, '.')) || put_number(out, quads[i], &spec))
			return -1;
	return 0;
}

/* ip6_compressed_string() */
static int put_compact(struct out *out, const uint8_t *p)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const struct spec hex = {HEX, 0, -1};
	unsigned int words[8];
	int best = -1, longest = 1, count = 8, colon = 0;

	for (int i = 0; i < 8; i++)
		words[i] = (unsigned int)p[2 * i] << 8 | p[2 * i + 1];
	if (!memcmp(p, mapped, sizeof(mapped)) || (words[5] == 0x5efe && !(words[4] & ~0x0200u)))
		count = 6;
	for (int start = 0; start < count; start++) {
		int length = 0;

		while (start + length < count && !words[start + length])
			length++;
		if (length > longest) {
			best = start;
			longest = length;
		}
	}
	for (int i = 0; i < count; i++) {
		if (i == best) {
			if (put_text(out, "::", 2))
				return -1;
			i += longest - 1;
			colon = 0;
			continue;
		}
		if ((colon && put_char(out, ':')) || put_number(out, words[i], &hex))
			return -1;
		colon = 1;
	}
	if (count == 8)
		return 0;
	return (colon && put_char(out, ':')) || put_ip4(out, p + 12, 0) ? -1 : 0;
}

static int put_ip6(struct out *out, const uint8_t *p, uint32_t options)
{
	if (options & OPTION_COMPACT)
		return put_compact(out, p);
	for (int i = 0; i < 16; i += 2) {
		if (i && !(options & OPTION_PADDED) && put_char(out, ':'))
			return -1;
		if (put_hex(out, p + i, 2, 0, 0))
			return -1;
	}
	return 0;
}

static int put_uuid(struct out *out, const uint8_t *p, uint32_t options)
{
	static const uint8_t ends[] = {4, 6, 8, 10, 16};
	uint8_t raw[16];
	unsigned int from = 0;

	memcpy(raw, p, sizeof(raw));
	if (options & OPTION_REVERSED) {
		reversed(raw, 4);
		reversed(raw + 4, 2);
		reversed(raw + 6, 2);
	}
	for (size_t i = 0; i < sizeof(ends); from = ends[i++]) {
		if ((from && put_char(out, '-')) ||
		    put_hex(out, raw + from, ends[i] - from, 0, !!(options & OPTION_UPPER)))
			return -1;
	}
	return 0;
}

static int put_mac(struct out *out, const uint8_t *p, uint32_t options)
{
	uint8_t raw[6];

	memcpy(raw, p, sizeof(raw));
	if (options & OPTION_REVERSED)
		reversed(raw, sizeof(raw));
	return put_hex(out, raw, sizeof(raw), (char)(options & OPTION_SEPARATOR),
		       !!(options & OPTION_UPPER));
}

/* `width` is the conversion's: bytes of HEX_BYTES, of a group of ALL_BYTES, bits of BITMAP. -1 also
 * for too few bytes.
 */
int put_pointer(struct out *out, struct span s, enum pointer kind, uint32_t width, uint32_t options)
{
	static const uint8_t sizes[POINTER_COUNT] = {[MAC] = 6, [IP4] = 4, [IP6] = 16, [UUID] = 16};
	char separator = (char)(options & OPTION_SEPARATOR);

	if (kind == HEX_BYTES && width > MOST_HEX)
		width = MOST_HEX;
	if (s.size < sizes[kind] || (kind == HEX_BYTES && s.size < width) ||
	    (kind == BITMAP && s.size < (width + 7) / 8))
		return -1;
	switch (kind) {
	case HEX_BYTES: return put_hex(out, s.at, width, separator, 0);
	case ALL_BYTES: return put_hex_groups(out, s, separator, width);
	case MAC: return put_mac(out, s.at, options);
	case IP4: return put_ip4(out, s.at, options);
	case IP6: return put_ip6(out, s.at, options);
	case UUID: return put_uuid(out, s.at, options);
	default:
		width = kind == ALL_BITS ? 8 * s.size : width;
		return options & OPTION_LIST ? put_bit_list(out, s.at, width)
					     : put_bitmap(out, s.at, width);
	}
}

/* trace_print_array_seq() */
int put_array(struct out *out, struct span s, unsigned int size)
{
	const struct spec hex = {HEX | SHARP, 0, -1};

	if (put_char(out, '{'))
		return -1;
	for (uint32_t i = 0; i + size <= s.size; i += size) {
		if ((i && put_char(out, ',')) ||
		    put_number(out, load_unsigned(s.at + i, size), &hex))
			return -1;
	}
	return put_char(out, '}');
}

/* A list of JSON. */
/* A number of a list of JSON; beyond what a double holds, or where all are asked for, as "0x...". */
static int put_exact(struct out *out, uint64_t value, unsigned int type, int as_hex)
{
	static const uint64_t exact = 1ULL << 53;
	const struct spec spec = {type & TYPE_SIGNED ? SIGNED : DECIMAL, 0, -1};
	const struct spec hex = {HEX | SHARP, 0, -1};
	int negative = type & TYPE_SIGNED && (int64_t)value < 0;
	uint64_t size = negative ? 0 - value : value;

	if (!as_hex && size <= exact)
		return put_number(out, value, &spec);
	return put_text(out, "\"-", negative ? 2 : 1) || put_number(out, size, &hex) ||
			       put_char(out, '"')
		       ? -1
		       : 0;
}

int put_integers(struct out *out, struct span s, unsigned int type, int as_hex)
{
	unsigned int size = type & TYPE_SIZE;

	if (put_char(out, '['))
		return -1;
	for (uint32_t i = 0; i + size <= s.size; i += size) {
		if ((i && put_text(out, ", ", 2)) ||
		    put_exact(out, load(s.at + i, type), type, as_hex))
			return -1;
	}
	return put_char(out, ']');
}
