"""The kernel's ``%p`` extensions as text: ``pointer()`` in ``lib/vsprintf.c``.

There are two kinds. Some print the address itself (:func:`address_text`: ``%ps`` as a symbol,
``%pe`` as an error). The others read the memory behind it, which only works here if that memory is
in the record (:data:`READERS`: ``%pI4`` an IPv4 address, ``%ph`` bytes in hex, …).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from tracekit.ftrace.context import SymbolTable
from tracekit.ftrace.kernel_printf.ctype import INT, wrap
from tracekit.ftrace.kernel_printf.vsprintf import Conversion, format_pointer, pad

__all__ = [
    "READERS",
    "TooShort",
    "address_text",
    "bitmap_text",
    "c_text",
    "hex_text",
    "symbol_text",
    "take",
]

_AF_INET, _AF_INET6 = 2, 10
_ERROR_FLOOR = (1 << 64) - 4095  # IS_ERR_VALUE(), include/linux/err.h
_PAGE_SIZE = 4096
_CYCLE = 146097 * 86400  # seconds of 400 years, after which the calendar is the same
_MAX_HEX = 64  # hex_string()

# errname() of lib/errname.c with the numbers of asm-generic/errno*.h, in order from 1; 41 and 58
# are unused.
_ERRNO_NAMES = (
    "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT "
    "ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG "
    "ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY "
    "ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR "
    "EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE "
    "ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG "
    "ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK "
    "EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP "
    "EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET "
    "ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT "
    "ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL "
    "EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED "
    "EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON"
)
_ERRNO = _ERRNO_NAMES.split()
_KERNEL_ERRNO = {
    512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 515: "ENOIOCTLCMD",
    516: "ERESTART_RESTARTBLOCK", 517: "EPROBE_DEFER", 518: "EOPENSTALE", 519: "ENOPARAM",
    521: "EBADHANDLE", 522: "ENOTSYNC", 523: "EBADCOOKIE", 524: "ENOTSUPP", 525: "ETOOSMALL",
    526: "ESERVERFAULT", 527: "EBADTYPE", 528: "EJUKEBOX", 529: "EIOCBQUEUED",
    530: "ERECALLCONFLICT", 531: "ENOGRACE",
}  # fmt: skip


class TooShort(Exception):
    """The memory that a conversion reads is not, or not all, in the record."""


def take(data: bytes, size: int) -> bytes:
    """The first ``size`` bytes; raises :class:`TooShort` if there are fewer."""
    if len(data) < size:
        raise TooShort
    return data[:size]


def symbol_text(symbols: SymbolTable, address: int, kind: str = "S") -> str:
    """``sprint_symbol()`` for ``S``, ``sprint_symbol_no_offset()`` for ``s``.

    ``B`` is ``sprint_backtrace()``. An address in no symbol prints as ``0x…``.
    """
    back = kind == "B"  # a return address: look up the call before it
    symbol = symbols.lookup((address - back) & 0xFFFFFFFFFFFFFFFF)
    if symbol is None:
        return f"{address:#x}"
    module = f" [{symbol.module}]" if symbol.module else ""
    if kind == "s":
        return symbol.name + module
    return f"{symbol.name}+{symbol.offset + back:#x}/{symbol.size:#x}{module}"


def _error_name(address: int) -> str:
    number = (1 << 64) - address
    name = _ERRNO[number - 1] if number <= len(_ERRNO) else _KERNEL_ERRNO.get(number, "-")
    return f"-{number}" if name == "-" else f"-{name}"


def address_text(symbols: SymbolTable, conversion: Conversion, address: int) -> str:
    """The text of a pointer conversion when only the address is known.

    Plain ``%p`` gives the real address where the kernel prints a hash. Conversions that read
    kernel memory (``%pd``, ``%pV``, …) give the address too.
    """
    suffix = conversion.suffix
    kind = suffix[:1]
    if kind in ("S", "s", "B") or suffix in ("f", "F"):
        kind = {"f": "s", "F": "S"}.get(kind, kind)
        return pad(symbol_text(symbols, address, kind), conversion)
    if kind == "e" and address >= _ERROR_FLOOR:
        return pad(_error_name(address), conversion)
    if kind in ("", "x", "K", "e") or kind not in _DEREFERENCING:
        return format_pointer(address, conversion)
    if not address:
        return pad("(null)", conversion)
    if address < _PAGE_SIZE or address >= _ERROR_FLOOR:
        return pad("(efault)", conversion)
    return f"{address:016x}"


_DEREFERENCING = frozenset("RrhbMmIiEUVN4adtCDgGOfAuk")


def c_text(data: bytes) -> str:
    """A text up to its NUL, or all of it; what is not UTF-8 is escaped."""
    return data.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def hex_text(data: bytes, separator: str) -> str:
    """Bytes as two hex digits each."""
    return data.hex(separator) if separator else data.hex()


def _hex(data: bytes, conversion: Conversion) -> str:
    """``%*ph``, ``C``, ``D``, ``N``: ``hex_string()``; one byte without a width."""
    size = 1 if conversion.width is None else min(int(conversion.width), _MAX_HEX)
    separator = {"C": ":", "D": "-", "N": ""}.get(conversion.suffix[1:2], " ")
    return hex_text(take(data, size), separator)


def bitmap_text(data: bytes, bits: int, as_list: bool) -> str:
    """``bitmap_string()`` and ``bitmap_list_string()``: the first ``bits`` bits of ``data``."""
    value = int.from_bytes(take(data, (bits + 7) // 8), "little") & ((1 << bits) - 1)
    if as_list:
        runs = []
        while value:
            low = (value & -value).bit_length() - 1
            high = low + ((~(value >> low) & ((value >> low) + 1)).bit_length() - 1)
            runs.append(f"{low}-{high - 1}" if high - low > 1 else f"{low}")
            value &= ~((1 << high) - 1)
        return ",".join(runs)
    chunks = []
    for low in range((bits - 1) // 32 * 32, -1, -32):
        width = (min(bits - low, 32) + 3) // 4
        chunks.append(f"{value >> low & 0xFFFFFFFF:0{width}x}")
    return ",".join(chunks)


def _bitmap(data: bytes, conversion: Conversion) -> str:
    return bitmap_text(data, int(conversion.width or 0), conversion.suffix[1:2] == "l")


def _mac(data: bytes, conversion: Conversion) -> str:
    """``%pM``, ``%pm``, with ``F`` (FDDI), ``R`` (reversed), ``U`` (upper case)."""
    raw = take(data, 6)
    letters = conversion.suffix[1:]
    if letters[:1] == "R":
        raw = raw[::-1]
    separator = "" if conversion.suffix[0] == "m" else "-" if letters[:1] == "F" else ":"
    text = hex_text(raw, separator)
    upper = letters[:1] == "U" or letters[:2] in ("FU", "RU")
    return pad(text.upper() if upper else text, conversion)


def _ip4(raw: bytes, padded: bool, order: str = "") -> str:
    quads = raw[::-1] if order in ("h", "l") else raw
    return ".".join(f"{q:03d}" if padded else str(q) for q in quads)


def _ip6(raw: bytes, compact: bool, colons: bool = True) -> str:
    if not compact:
        return raw.hex(":", 2) if colons else raw.hex()
    words = struct.unpack(">8H", raw)
    mapped = raw[:12] == bytes(10) + b"\xff\xff"
    isatap = words[5] == 0x5EFE and words[4] & ~0x0200 == 0
    count = 6 if mapped or isatap else 8
    best, best_len = -1, 1
    for start in range(count):
        length = 0
        while start + length < count and words[start + length] == 0:
            length += 1
        if length > best_len:
            best, best_len = start, length
    text = ":".join(f"{w:x}" for w in words[:count])
    if best >= 0:
        before = ":".join(f"{w:x}" for w in words[:best])
        after = ":".join(f"{w:x}" for w in words[best + best_len : count])
        text = f"{before}::{after}"
    if count == 6:
        text += ("" if text.endswith(":") else ":") + _ip4(raw[12:], False)
    return text


def _sockaddr(data: bytes, conversion: Conversion) -> str:
    """``%pIS``, ``%piS`` with ``p`` port, ``f`` flow info, ``s`` scope, ``c`` compressed."""
    family = int.from_bytes(take(data, 2), "little")
    letters = conversion.suffix[2:]
    padded = conversion.suffix[0] == "i"
    if family == _AF_INET:
        raw = take(data, 8)
        order = next((c for c in reversed(letters) if c in "hlnb"), "")
        port = f":{int.from_bytes(raw[2:4], 'big')}" if "p" in letters else ""
        return _ip4(raw[4:8], padded, order) + port
    if family != _AF_INET6:
        return "(einval)"
    raw = take(data, 28)
    text = _ip6(raw[8:24], not padded and "c" in letters, not padded)
    if set(letters) & set("pfs"):
        text = f"[{text}]"
    if "p" in letters:
        text += f":{int.from_bytes(raw[2:4], 'big')}"
    if "f" in letters:
        text += f"/{int.from_bytes(raw[4:8], 'big') & 0x0FFFFFFF}"
    if "s" in letters:
        text += f"%{int.from_bytes(raw[24:28], 'little')}"
    return text


def _ip(data: bytes, conversion: Conversion) -> str:
    suffix = conversion.suffix
    if suffix[1:2] == "4":
        text = _ip4(take(data, 4), suffix[0] == "i", suffix[2:3])
    elif suffix[1:2] == "6":
        compact = suffix[0] == "I" and suffix[2:3] == "c"
        text = _ip6(take(data, 16), compact, suffix[0] == "I")
    elif suffix[1:2] == "S":
        text = _sockaddr(data, conversion)
    else:
        text = f"(%p{suffix[0]}?)"
    return pad(text, conversion)


def _uuid(data: bytes, conversion: Conversion) -> str:
    """``%pUb`` (the default), ``%pUl``; ``B`` and ``L`` in upper case."""
    raw = take(data, 16)
    letter = conversion.suffix[1:2]
    if letter in ("l", "L"):
        raw = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    text = "-".join(raw[a:b].hex() for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 16)))
    return pad(text.upper() if letter in ("B", "L") else text, conversion)


def _whole(size: int) -> Callable[[bytes, Conversion], str]:
    def text(data: bytes, _conversion: Conversion) -> str:
        return f"0x{int.from_bytes(take(data, size), 'little'):0{2 * size}x}"

    return text


def _fourcc(data: bytes, conversion: Conversion) -> str:
    """``%p4cc`` and the generic ``%p4ch``, ``chR``, ``cl``, ``cb``."""
    letters = conversion.suffix[1:]
    orig = int.from_bytes(take(data, 4), "little")
    if letters == "chR" or letters[:2] == "cb":
        orig = int.from_bytes(orig.to_bytes(4, "little"), "big")
    elif letters[:2] not in ("cc", "ch", "cl"):
        return "(%p4?)"
    pixel = letters[:2] == "cc"
    value = (orig & 0x7FFFFFFF).to_bytes(4, "little" if pixel else "big")
    if not pixel:
        value = orig.to_bytes(4, "big")
    text = "".join(chr(c) if 32 <= c < 127 else "." for c in value)
    if pixel:
        text += " big-endian" if orig >> 31 else " little-endian"
    return pad(f"{text} (0x{orig:08x})", conversion)


def _clock(fields: tuple[int, ...], letters: str) -> str:
    """``rtc_str()`` for (sec, min, hour, mday, mon, year), month and year as shown."""
    second, minute, hour, day, month, year = fields
    date = f"{year % (1 << 64):04d}-{month:02d}-{day:02d}"  # an int, printed as u64
    time = f"{hour:02d}:{minute:02d}:{second:02d}"
    if letters[:1] == "d":
        return date
    if letters[:1] == "t":
        return time
    return date + (" " if "s" in letters else "T") + time


def _epoch(seconds: int, letters: str) -> str:
    """``time64_to_tm()``; Python's calendar ends where the kernel's goes on."""
    cycles, rest = divmod(seconds, _CYCLE)
    moment = datetime(1970, 1, 1) + timedelta(seconds=rest)
    raw = "r" in letters.lstrip("dt")
    year = wrap(moment.year - 1900 + 400 * cycles, INT)
    month, year = (moment.month - 1, year) if raw else (moment.month, wrap(year + 1900, INT))
    return _clock((moment.second, moment.minute, moment.hour, moment.day, month, year), letters)


def _time(data: bytes, conversion: Conversion) -> str:
    """``%ptR`` (struct rtc_time), ``%ptT`` (time64_t), ``%ptS`` (struct timespec64)."""
    suffix = conversion.suffix
    letters = suffix[2:]
    if suffix[1:2] == "R":
        fields = struct.unpack("<6i", take(data, 36)[:24])
        raw = "r" in letters.lstrip("dt")
        month, year = fields[4] + (not raw), fields[5] + (0 if raw else 1900)
        return _clock((*fields[:4], month, year), letters)
    if suffix[1:2] == "T":
        return _epoch(struct.unpack("<q", take(data, 8))[0], letters)
    if suffix[1:2] == "S":
        seconds, nanos = struct.unpack("<2q", take(data, 16))
        whole = str(seconds) if letters[:1] == "p" else _epoch(seconds, letters)
        return f"{whole}.{nanos:09d}"
    return "(%pt?)"


_ESCAPES = {
    "s": {10: b"n", 13: b"r", 9: b"t", 11: b"v", 12: b"f"},
    "c": {27: b"e", 7: b"a", 34: b'"', 92: b"\\"},
    "n": {0: b"0"},
}


_LETTERS = re.compile("[achnops]*")


def _escape(byte: int, letters: str) -> bytes:
    if "p" in letters and (32 <= byte < 127 or byte >= 160):  # isprint() is that of Latin-1
        return bytes([byte])
    for group, names in _ESCAPES.items():
        if (group in letters or "a" in letters) and byte in names:
            return b"\\" + names[byte]
    if "o" in letters or "a" in letters:
        return b"\\%03o" % byte
    return b"\\x%02x" % byte if "h" in letters else bytes([byte])


def _escaped(data: bytes, conversion: Conversion) -> str:
    """``%*pE``: ``string_escape_mem()`` with its flag letters; ``ap`` where none is given."""
    size = 1 if conversion.width is None else int(conversion.width)
    given = _LETTERS.match(conversion.suffix, 1)
    letters = (given and given[0]) or "ap"
    escaped = b"".join(_escape(byte, letters) for byte in take(data, size))
    return escaped.decode("utf-8", "backslashreplace")


def _flags(data: bytes, conversion: Conversion) -> str:
    """``%pGp``, ``%pGv``, ``%pGg``: the bits' names depend on the kernel build."""
    size = 4 if conversion.suffix[1:2] == "g" else 8
    value = int.from_bytes(take(data, size), "little")
    return f"(?{value:#x})" if value or conversion.suffix[1:2] == "p" else ""


#: First letter after ``%p`` -> function that prints the memory behind the pointer.
READERS: Mapping[str, Callable[[bytes, Conversion], str]] = {
    "h": _hex, "b": _bitmap, "M": _mac, "m": _mac, "I": _ip, "i": _ip, "U": _uuid,
    "a": _whole(8), "N": _whole(8), "4": _fourcc, "t": _time, "E": _escaped, "G": _flags,
}  # fmt: skip
