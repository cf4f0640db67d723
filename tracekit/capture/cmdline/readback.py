"""Whether the boot loader's entries have the parameters, read from what it boots from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from tracekit.capture.cmdline.bootloader import KERNEL_CMDLINE, Loader, entry_lines
from tracekit.capture.cmdline.wanted import ours
from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.sysroot import Sysroot

__all__ = ["ReadBack", "read_back"]


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What the entries say. ``good`` is None where they cannot be read; ``found`` is in words.

    ``broken`` are the words with which a kernel would not come up.
    """

    good: bool | None
    found: str
    broken: tuple[str, ...] = ()


def _mark(loader: Loader) -> str:
    """What may stand before an address: GRUB expands ``$``, though in its menu not ``\\$``."""
    if PurePosixPath(loader.shown or "").name == "grub.cfg":
        return r"\\\$|[%@#!]"
    return r"[%@#!]" if loader.name.startswith("GRUB") else r"[$%@#!]"


def _broken(words: Iterable[str], line: Iterable[str], mark: str) -> Iterator[str]:
    """The ``memmap=`` of a line that have our size, but neither our address nor any other.

    ``mark`` matches what may stand before an address.
    """
    for word in words:
        size = re.match(r"memmap=[0-9]+[KMG]?", word)
        for present in line if size else ():
            rest = present.removeprefix(size[0]) if size else ""
            if present in (rest, word) or re.match(r"[0-9KMG]", rest):
                continue
            if re.fullmatch(rf"({mark})(0x)?[0-9a-fA-F]+\S*", rest) is None:
                yield present


def _future(root: Sysroot, loader: Loader) -> str:
    """What kernels installed later will lack, '' where nothing says so."""
    if loader.path == KERNEL_CMDLINE:
        return ""
    try:
        line = root.get(KERNEL_CMDLINE)
    except SourceError:
        return ""
    missing = set(loader.parameters.split()) - set((line or b"").decode("utf-8", "replace").split())
    if line is None or not missing or not loader.update:
        return ""
    return (
        f"; but /{KERNEL_CMDLINE} lacks {' '.join(sorted(missing))}, so kernels that are installed "
        "later may not get them: add them there too"
    )


def read_back(root: Sysroot, loader: Loader, wanted: str) -> ReadBack:
    """Look for the ``wanted`` parameters in every entry; '' looks whether none of ours is left."""
    if loader.shown is None:
        return ReadBack(None, f"{loader.name}: its entries cannot be read, so look yourself")
    try:
        lines = entry_lines(root, loader.shown)
    except SourceError as error:
        return ReadBack(None, f"the boot loader's entries were not read: {error}")
    where = f"/{loader.shown}"
    if not lines:
        return ReadBack(None, f"{where} shows no entry, so look yourself")
    words = set(loader.entry_words) if wanted else set()
    if not words:
        left = sorted({word for line in lines for word in ours(line)})
        if left:
            return ReadBack(False, f"entries in {where} still have {' '.join(left)}")
        return ReadBack(True, f"no entry in {where} has them any more")
    mark = _mark(loader)
    broken = [word for line in lines for word in _broken(words, line.split(), mark)]
    if broken:
        listed = ", ".join(dict.fromkeys(broken))
        found = f"entries in {where} have {listed}, with which no kernel comes up: the $ is lost"
        return ReadBack(False, found, tuple(dict.fromkeys(broken)))
    lacking = [words - set(line.split()) for line in lines]
    full = sum(not lack for lack in lacking)
    if full == 0:
        lack = " ".join(sorted(set.union(*lacking)))
        return ReadBack(False, f"of {len(lines)} entries in {where} none has all: {lack}")
    doubled = any(set(ours(line)) - words for line in lines)
    if doubled:
        return ReadBack(False, f"entries in {where} have the parameters of another --size too")
    more = "" if full == len(lines) else "; the others will not be recorded"
    found = f"{full} of {len(lines)} entries in {where} have the parameters{more}"
    return ReadBack(True, found + _future(root, loader))
