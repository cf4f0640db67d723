"""One input of a target: nothing undocumented is raised, and the time fits the bytes.

What is allowed is many times what a parser takes. A long variant that takes longer still is a
finding only if its time grew faster than its bytes: a busy machine, and a parser under coverage,
may be slow at all sizes alike.
"""

from __future__ import annotations

import time
import zlib

from tests.fuzz.targets import Target

FLOOR = 0.05  # seconds of CPU that any input may take
PER_BYTE = 20e-6  # and for each byte of it; all parsers are far below, unless they are quadratic
_AGAIN = 3  # runs, of which the quickest counts: the others were disturbed
_STRETCHED = 1 << 16  # bytes of the long variant of an input
_SHORTER = 4  # times shorter is the variant that a slow long one is compared with
_GROWTH = 8  # times its time may be: 4 is linear, 16 quadratic
_ONE_IN = 32  # inputs of which a long variant is made


class TooSlow(AssertionError):
    """An input takes longer than its size allows."""


def stretched(data: bytes, length: int = _STRETCHED) -> bytes:
    """``data`` with a piece of it repeated to ``length``: what is quadratic shows itself.

    The same input always gives the same variant, so a finding can be repeated.
    """
    mixed = zlib.crc32(data[::-1])
    start = mixed % (len(data) or 1)
    piece = data[start : start + 1 + (mixed >> 16) % 64]
    if not piece:
        return data
    return data[:start] + piece * (length // len(piece)) + data[start:]


def variants(data: bytes) -> list[bytes]:
    """The input, and for one in thirty-two its long variant."""
    return [data, stretched(data)] if zlib.crc32(data) % _ONE_IN == 0 else [data]


def run(target: Target, data: bytes) -> None:
    """Run the parser; raises what it does not document."""
    try:
        target.run(data)
    except target.documented:
        return


def _seconds(target: Target, data: bytes) -> float:
    start = time.process_time()
    run(target, data)
    return time.process_time() - start


def _quickest(target: Target, data: bytes, bound: float) -> float:
    """Seconds of the quickest of a few runs; no more are made once one is within ``bound``."""
    took = _seconds(target, data)
    for _ in range(_AGAIN):
        if took <= bound:
            break
        took = min(took, _seconds(target, data))
    return took


def examine(target: Target, data: bytes) -> None:
    """Run an input and its variants, each within its time; raises :class:`TooSlow` if not."""
    for variant in variants(data):
        bound = FLOOR + PER_BYTE * target.size(variant)
        took = _quickest(target, variant, bound)
        if took > bound and variant is not data:
            shorter = stretched(data, _STRETCHED // _SHORTER)
            bound = max(bound, _GROWTH * _quickest(target, shorter, bound / _GROWTH))
        if took > bound:
            raise TooSlow(
                f"{target.name}: {took:.3f} s for {target.size(variant)} bytes, of which "
                f"{bound:.3f} s are allowed"
            )
