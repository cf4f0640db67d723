"""``boots/N/enumerators.json``: the values of names that print formats leave to the reader.

A format has the number of an enumerator only where the kernel was told to put it there
(``TRACE_DEFINE_ENUM()``); of the others BTF has them, the kernel's or a module's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tracekit.btf import VMLINUX, Btf, kernel_types
from tracekit.errors import ParseError, SourceError
from tracekit.remarks import Remarks
from tracekit.session import SessionWriter
from tracekit.session.files import dump_json
from tracekit.sysroot import Sysroot

__all__ = ["named_in", "save_enumerators"]

_FOLDER = "sys/kernel/btf"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(rb"(?<![\w.>])[A-Za-z_]\w{2,}\b(?!\s*\()")


def named_in(formats: Iterable[bytes]) -> set[str]:
    """The names in print formats that may be enumerators'; not those of members and functions."""
    names: set[str] = set()
    for text in formats:
        _, _, print_fmt = text.partition(b"\nprint fmt:")
        code = _STRING.sub(b" ", print_fmt)
        names.update(name.decode("ascii", "replace") for name in _NAME.findall(code))
    return {name for name in names if name != "REC"}


def save_enumerators(
    root: Sysroot, writer: SessionWriter, boot: int, remarks: Remarks, formats: Iterable[bytes]
) -> None:
    """Save those that the formats name and that were not looked for yet; without BTF none."""
    rel = f"boots/{boot}/enumerators.json"
    try:
        document = json.loads(writer.read(rel) or b"{}")
        known, asked = dict(document.get("values", {})), set(document.get("asked", []))
    except (ValueError, AttributeError, TypeError, RecursionError):
        known, asked = {}, set[str]()
    wanted = named_in(formats) - asked
    if not wanted:
        return
    data = remarks.get(root, VMLINUX, None)
    if data is None:
        return
    try:
        types = kernel_types(data, root.where(VMLINUX))
        known |= types.enumerators(wanted)
    except ParseError as error:
        remarks.add("btf-unreadable", "info", VMLINUX, str(error))
        return
    known |= _of_modules(root, types, wanted - known.keys(), remarks)
    writer.write(rel, dump_json({"values": known, "asked": sorted(asked | wanted)}))


def _of_modules(root: Sysroot, base: Btf, wanted: set[str], remarks: Remarks) -> dict[str, int]:
    """Those that modules' own types have; one that two have with different values is left out."""
    found: dict[str, int] = {}
    unclear: set[str] = set()
    spelled = base.spellings(wanted)
    try:
        names = root.names(_FOLDER) if wanted else []
    except SourceError:
        names = []
    for rel in (f"{_FOLDER}/{name}" for name in names):
        data = remarks.get(root, rel, None) if rel != VMLINUX else None
        if data is None or not any(spelling in data for spelling in spelled):
            continue  # most modules have none of them, and taking types apart takes a while
        try:
            own = Btf(data, root.where(rel), base).enumerators(wanted)
        except ParseError as error:
            remarks.add("btf-unreadable", "info", rel, str(error))
            continue
        unclear |= {name for name, value in own.items() if found.setdefault(name, value) != value}
    return {name: value for name, value in found.items() if name not in unclear}
