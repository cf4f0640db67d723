"""Keeps KHO's data of the running kernel in a session: ``boots/N/kho/`` and ``devices.json``.

What the blobs point to is kept as well: the pages that were read to show them.
"""

from __future__ import annotations

import json
from contextlib import ExitStack

from tracekit.capture.kho.evidence import SIDES, Evidence, from_machine
from tracekit.capture.kho.inspect import sections
from tracekit.capture.kho.kernel_view import needed_symbols
from tracekit.capture.kho.luo_state import LuoState, luo_state_from_dict
from tracekit.capture.kho.saved import LUO_CAME, LUO_NOW
from tracekit.kho.memory import Recorder
from tracekit.kho.preserved_sum import PreservedMap, preserved_from_dict
from tracekit.remarks import Remarks
from tracekit.session import SessionWriter, safe_name
from tracekit.session.files import dump_json
from tracekit.sysroot import Sysroot

__all__ = ["save_kho"]

_IN_MEMORY, _IN_MAP = "in/memory.bin", "in/map.json"
_NEEDED = {"map": "the list of preserved pages", "luo": "LUO's sessions",
           "marks": "the pages that arrived"}  # fmt: skip


def _remarks(evidence: Evidence, remarks: Remarks) -> None:
    for what, why in evidence.unseen.items():
        if evidence.files and what in _NEEDED:
            message = f"{_NEEDED[what]} could not be read, and are not saved: {why}"
            remarks.add("kho-unseen", "info", f"kho {what}", message)


def _came(writer: SessionWriter, rel: str, state: LuoState | None) -> LuoState | None:
    """The state as it was when the kernel came up, by an earlier save or by this one."""
    try:
        return luo_state_from_dict(json.loads(writer.read(rel) or b""))
    except (ValueError, KeyError, TypeError, RecursionError):
        return state if state is not None and state.incoming else None


#: Digest of a session's kallsyms -> the lines that are needed: the last save is in a hurry.
_KNOWN: dict[str, bytes] = {}


def _symbols(writer: SessionWriter, rel: str) -> bytes | None:
    """The lines of a saved kallsyms that are looked for; None where there is none."""
    state = writer.state(rel)
    if state is not None and state not in _KNOWN and (data := writer.read(rel)) is not None:
        _KNOWN.clear()
        _KNOWN[state] = needed_symbols(data)
    return _KNOWN.get(state or "")


def _handed_on(writer: SessionWriter, boot: int) -> PreservedMap | None:
    """The list of preserved memory that the session has of the boot before."""
    try:
        data = writer.read(f"boots/{boot - 1}/kho/out/map.json") if boot else None
        return preserved_from_dict(json.loads(data or b""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def save_kho(root: Sysroot, writer: SessionWriter, boot: int, remarks: Remarks) -> None:
    """Save KHO's data, the list of preserved memory, LUO's sessions and the PCI devices.

    Of what an earlier save of this boot found, the sessions that came are kept, the memory they
    lie in, and the pages that had arrived: once they are taken up they are gone.
    """
    rel = f"boots/{boot}"
    with ExitStack() as stack:
        kallsyms = _symbols(writer, f"{rel}/kallsyms") if root.live else None
        handed_on = _handed_on(writer, boot)
        evidence = from_machine(root, stack, kallsyms, handed_on=handed_on)
        if root.live:  # a saved tree rarely has the memory
            _remarks(evidence, remarks)
        sections(evidence)  # reads the memory that blobs point to
        if evidence.files:
            came = _came(writer, f"{rel}/kho/{LUO_CAME}", evidence.luo)
            kept_before = writer.has(f"{rel}/kho/{_IN_MEMORY}")
            map_before = writer.has(f"{rel}/kho/{_IN_MAP}")
            with writer.tree(f"{rel}/kho", lambda n: n.startswith((_IN_MEMORY, _IN_MAP))) as tree:
                for name, data in evidence.files.items():
                    *above, last = name.split("/")
                    tree.write("/".join((*above, safe_name(last))), data)
                for side, kept in evidence.maps.items():
                    if side == "in" and map_before:
                        continue
                    tree.write(f"{side}/map.json", dump_json(kept.as_dict()))
                for side in SIDES:
                    read = evidence.read.get(side)
                    pages = read.pack() if isinstance(read, Recorder) else b""
                    if pages and not (side == "in" and kept_before):
                        tree.write(f"{side}/memory.bin", pages, compressed=True)
                if evidence.luo is not None:
                    tree.write(LUO_NOW, dump_json(evidence.luo.as_dict()))
                if came is not None:
                    tree.write(LUO_CAME, dump_json(came.as_dict()))
        if evidence.devices:
            document = {"devices": [device.as_dict() for device in evidence.devices]}
            writer.write(f"{rel}/devices.json", dump_json(document))
