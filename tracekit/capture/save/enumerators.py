"""``boots/N/enumerators.json``: the values of names that print formats leave to the reader.

A format has the number of an enumerator only where the kernel was told to put it there
(``TRACE_DEFINE_ENUM()``); of the others BTF has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tracekit.btf import Btf
from tracekit.errors import ParseError
from tracekit.remarks import Remarks
from tracekit.session import SessionWriter
from tracekit.session.files import dump_json
from tracekit.sysroot import Sysroot

__all__ = ["named_in", "save_enumerators"]

_BTF = "sys/kernel/btf/vmlinux"
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
    data = remarks.get(root, _BTF, None)
    if data is None:
        return
    try:
        known |= Btf(data, root.where(_BTF)).enumerators(wanted)
    except ParseError as error:
        remarks.add("btf-unreadable", "info", _BTF, str(error))
        return
    writer.write(rel, dump_json({"values": known, "asked": sorted(asked | wanted)}))
