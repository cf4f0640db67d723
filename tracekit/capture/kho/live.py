"""LUO's sessions and the devices of a kernel: what is kept, and what would be left running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracekit.capture.kho.devices import PciDevice
from tracekit.capture.kho.evidence import Evidence
from tracekit.capture.kho.holders import Holder
from tracekit.capture.kho.luo_state import LiveSession, LuoState
from tracekit.kho.item import Item, item
from tracekit.kho.luo_items import session_items
from tracekit.kho.memory import Reader, nowhere

__all__ = ["live_item", "session_state"]


def session_state(session: LiveSession, opened: bool | None, *, incoming: bool) -> str:
    """Where a session is in its life."""
    if not incoming:
        return "will be handed on"
    if not opened:
        return "came, and nobody has opened /dev/liveupdate yet"
    missing = sum(file.retrieved != 1 for file in session.files)
    if not session.retrieved:
        return "came, not retrieved by anybody"
    if missing:
        return f"retrieved, but {missing} of its {len(session.files)} files not; not finished"
    return "retrieved with all its files, not finished"


def _session(
    session: LiveSession, state: LuoState, holders: Sequence[Holder], read: Reader, incoming: bool
) -> Item:
    (shown,) = session_items([session.plain()], read)
    mine = [f"{h.comm} ({h.pid})" for h in holders if h.name == session.name]
    told = session_state(session, state.opened, incoming=incoming)
    children = [item("state", told)]
    if mine:
        children.append(item("held open by", ", ".join(mine)))
    files = [
        item(child.label, f"{child.value}{_got(session, number)}", child.note, child.children,
             child.amiss) if child.label.startswith("token 0x") else child
        for number, child in _numbered(shown.children)
    ]  # fmt: skip
    return item(session.name, f"{shown.value}, {told}", "", [*children, *files])


def _numbered(children: Sequence[Item]) -> Iterator[tuple[int, Item]]:
    number = 0
    for child in children:
        yield number, child
        number += child.label.startswith("token 0x")


def _got(session: LiveSession, number: int) -> str:
    file = session.files[number] if number < len(session.files) else None
    if file is None or not file.retrieved:
        return ""
    return ", retrieved" if file.retrieved == 1 else f", retrieving it failed ({file.retrieved})"


def _sessions(evidence: Evidence, state: LuoState) -> Iterator[Item]:
    for label, sessions, incoming in (
        ("sessions that came", state.incoming, True),
        ("sessions to be handed on", state.outgoing, False),
    ):
        read = evidence.read.get("in" if incoming else "out", nowhere)
        children = [_session(one, state, evidence.holders, read, incoming) for one in sessions]
        yield item(label, len(children) or "none", children=children)
    if state.handlers:
        yield item("can be preserved", ", ".join(state.handlers))


def _device(device: PciDevice) -> Item:
    master = {True: "bus master", False: "no bus master", None: "bus mastering unknown"}
    iommu = f"IOMMU group {device.group}, {device.domain_text}"
    value = f"{device.driver or 'no driver'}, {master[device.bus_master]}, "
    children = [item("DMA could go", device.reach)]
    if device.reset:
        children.append(item("reset by", ", ".join(device.reset)))
    note = f"class {device.kind}, {device.identity}"
    return item(device.address, value + (iommu if device.group else "no IOMMU"), note, children)


def _devices(evidence: Evidence) -> Iterator[Item]:
    able = [device for device in evidence.devices if device.bus_master]
    vfio = [device for device in evidence.devices if device.vfio]
    if evidence.devices:
        value = f"{len(evidence.devices)}, {len(able)} of them bus masters now"
        yield item("PCI devices", value, children=map(_device, evidence.devices))
        domains = sorted({d.attached or d.domain for d in evidence.devices} - {""})
        note = (
            "A device that LUO preserves is left running through the jump, with its IOMMU domain."
        )
        yield item("VFIO devices", len(vfio) or "none", note, map(_device, vfio))
        unseen = evidence.unseen.get("domains", "")
        note = f"of VFIO's devices not seen: {unseen}" if unseen else ""
        yield item("IOMMU domains", ", ".join(domains) or "none: no IOMMU", note)


def live_item(evidence: Evidence) -> Item:
    """The section on sessions and devices."""
    children: list[Item] = []
    if evidence.luo is not None:
        children += _sessions(evidence, evidence.luo)
    else:
        why = evidence.unseen.get("luo") or evidence.unseen.get("kho") or "not saved"
        children.append(item("sessions", "not seen", why))
    opened = [f"{h.comm} ({h.pid})" for h in evidence.holders if not h.name]
    if opened:
        children.append(item("/dev/liveupdate", f"open in {', '.join(opened)}"))
    children += _devices(evidence)
    sessions = evidence.luo
    value = (
        "sessions not seen" if sessions is None
        else f"{len(sessions.incoming)} sessions came, {len(sessions.outgoing)} to be handed on"
    )  # fmt: skip
    return item("Live state", value, "", children)
