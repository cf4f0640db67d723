"""C integer types and conversions as on the LP64 kernels (x86_64 and arm64).

Plain ``char`` is unsigned: the kernel is built with ``-funsigned-char`` (top-level ``Makefile``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracekit.frozen import dataclass

__all__ = [
    "BOOL",
    "INT",
    "LONG",
    "TYPE_WORDS",
    "U8",
    "U16",
    "U32",
    "U64",
    "IntType",
    "TypeName",
    "common_type",
    "converter",
    "named_type",
    "promote",
    "wrap",
]


@dataclass(frozen=True, slots=True)
class IntType:
    """An integer type: ``size`` in bytes (1, 2, 4, 8). ``boolean`` marks ``_Bool``."""

    size: int
    signed: bool
    boolean: bool = False

    @property
    def code(self) -> str:
        """The :mod:`struct` code of the type."""
        code = "BHIQ"[self.size.bit_length() - 1]
        return code.lower() if self.signed else code

    def holds(self, other: IntType) -> bool:
        """True if every value of ``other`` is a value of this type."""
        if self.boolean:
            return other.boolean
        if self.signed == other.signed:
            return self.size >= other.size
        return self.signed and self.size > other.size


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as written: its words without qualifiers, and how many ``*`` follow."""

    words: tuple[str, ...]
    stars: int = 0


INT = IntType(4, True)
LONG = IntType(8, True)
U8 = IntType(1, False)
U16 = IntType(2, False)
U32 = IntType(4, False)
U64 = IntType(8, False)
BOOL = IntType(1, False, True)

_S8, _S16 = IntType(1, True), IntType(2, True)

# Typedefs that print formats cast to, from include/linux/types.h and include/uapi/linux/types.h.
_TYPEDEFS: Mapping[str, IntType] = {
    "bool": BOOL, "_Bool": BOOL,
    "u8": U8, "__u8": U8, "uint8_t": U8, "s8": _S8, "__s8": _S8, "int8_t": _S8,
    "u16": U16, "__u16": U16, "uint16_t": U16, "__le16": U16, "__be16": U16,
    "s16": _S16, "__s16": _S16, "int16_t": _S16, "umode_t": U16, "sa_family_t": U16,
    "u32": U32, "__u32": U32, "uint32_t": U32, "__le32": U32, "__be32": U32, "uint": U32,
    "s32": INT, "__s32": INT, "int32_t": INT, "pid_t": INT, "clockid_t": INT,
    "__kernel_rwf_t": INT, "rwf_t": INT, "gfp_t": U32, "dev_t": U32, "uid_t": U32, "gid_t": U32,
    "blk_opf_t": U32, "slab_flags_t": U32, "fmode_t": U32, "vm_fault_t": U32, "isolate_mode_t": U32,
    "__poll_t": U32, "tid_t": U32, "errseq_t": U32, "kuid_t": U32, "kgid_t": U32,
    "u64": U64, "__u64": U64, "uint64_t": U64, "__le64": U64, "__be64": U64, "size_t": U64,
    "s64": LONG, "__s64": LONG, "int64_t": LONG, "ssize_t": LONG, "loff_t": LONG, "off_t": LONG,
    "ktime_t": LONG, "time64_t": LONG, "ptrdiff_t": LONG, "intptr_t": LONG,
    "sector_t": U64, "blkcnt_t": U64, "dma_addr_t": U64, "phys_addr_t": U64,
    "resource_size_t": U64, "pgoff_t": U64, "uintptr_t": U64, "ino_t": U64, "ulong": U64,
    "ushort": U16,
}  # fmt: skip

_BASIC = frozenset({"char", "short", "int", "long", "signed", "unsigned", "void"})
_TAGS = frozenset({"struct", "union", "enum"})

#: Words that can only start a type name.
TYPE_WORDS = _BASIC | _TAGS | frozenset(_TYPEDEFS) | {"const", "volatile"}


def named_type(words: tuple[str, ...]) -> IntType | None:
    """The integer type that ``words`` (without pointers) name, or None if it is unknown."""
    if len(words) == 1 and words[0] in _TYPEDEFS:
        return _TYPEDEFS[words[0]]
    if words[:1] == ("enum",):
        return U32  # GCC gives an enum without negative members an unsigned type
    if not words or not set(words) <= _BASIC or "void" in words:
        return None
    signed = "unsigned" not in words
    if "char" in words:
        return IntType(1, "signed" in words)
    if "short" in words:
        return IntType(2, signed)
    return IntType(8 if "long" in words else 4, signed)


def promote(type_: IntType) -> IntType:
    """The type after the integer promotions, at least ``int``."""
    return INT if type_.size < 4 else type_


def common_type(a: IntType, b: IntType) -> IntType:
    """The type of ``a + b``: the usual arithmetic conversions."""
    a, b = promote(a), promote(b)
    if a.size != b.size:
        return a if a.size > b.size else b
    return b if a.signed else a


def wrap(value: int, type_: IntType) -> int:
    """``value`` converted to ``type_``: cut to its width, then read as signed or unsigned."""
    if type_.boolean:
        return int(value != 0)
    bits = 8 * type_.size
    value &= (1 << bits) - 1
    if type_.signed and value >> (bits - 1):
        value -= 1 << bits
    return value


def converter(target: IntType, source: IntType | None = None) -> Callable[[int], int] | None:
    """A function that wraps an integer into ``target``; None where ``source`` already fits."""
    if source is not None and target.holds(source):
        return None
    if target.boolean:
        return lambda x: int(x != 0)
    mask = (1 << 8 * target.size) - 1
    if not target.signed:
        return lambda x: x & mask
    half = (mask >> 1) + 1
    return lambda x: ((x + half) & mask) - half
