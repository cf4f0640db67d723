"""Compiled BPF programs and the maps they use, as data: what is compiled once and loaded often.

Which map an instruction means is its number in :attr:`Objects.maps`; :mod:`tracekit.probes.libbpf`
puts the map's descriptor there. Kept as JSON, sealed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tracekit.errors import ParseError
from tracekit.session.files import sealed, unsealed

__all__ = ["Map", "Objects", "with_maps"]

_INSTRUCTION = struct.Struct("<BBhi")  # struct bpf_insn: code, registers, off, imm
_LOAD_64 = 0x18  # BPF_LD | BPF_IMM | BPF_DW, of two instructions
_PSEUDO_MAP = 1  # BPF_PSEUDO_MAP_FD, as the source register


class Map(NamedTuple):
    """A map as ``bpf(BPF_MAP_CREATE)`` takes it; sizes in bytes."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


class Objects(NamedTuple):
    """``programs``: name -> instructions. ``headers``: what they were compiled with."""

    maps: tuple[Map, ...]
    programs: Mapping[str, bytes]
    headers: str

    def dump(self) -> bytes:
        """The bytes that are kept."""
        document = {
            "headers": self.headers,
            "maps": [list(one) for one in self.maps],
            "programs": {name: code.hex() for name, code in self.programs.items()},
        }
        return sealed(json.dumps(document).encode())

    @classmethod
    def parse(cls, data: bytes) -> Objects:
        """From what :meth:`dump` gave; ParseError where it is that no more."""
        try:
            document = json.loads(unsealed(data, "what was kept"))
            programs = {name: bytes.fromhex(code) for name, code in document["programs"].items()}
            maps = tuple(Map(*one) for one in document["maps"])
            return cls(maps, programs, document["headers"])
        except (ValueError, KeyError, TypeError) as error:
            raise ParseError(f"compiled programs: {error!r}") from error


def _map_loads(code: bytes) -> Iterator[tuple[int, int]]:
    """(offset, number) of the instructions that load a map: its descriptor or its number."""
    at = 0
    while at + _INSTRUCTION.size <= len(code):
        opcode, registers, _, number = _INSTRUCTION.unpack_from(code, at)
        if opcode == _LOAD_64:
            if registers >> 4 == _PSEUDO_MAP:
                yield at, number
            at += _INSTRUCTION.size
        at += _INSTRUCTION.size


def with_maps(code: bytes, numbers: Mapping[int, int]) -> bytes:
    """The instructions with each map's ``number`` in place of the one that they had."""
    changed = bytearray(code)
    for at, number in _map_loads(code):
        struct.pack_into("<i", changed, at + 4, numbers[number])
    return bytes(changed)
