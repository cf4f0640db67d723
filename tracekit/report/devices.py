"""How long the shutdown of each device took, and which could still do DMA after it.

``device_shutdown()`` (drivers/base/core.c) calls the shutdown callback of each device's class, bus
or driver. The BPF probes record each call (``device:shutdown``); without BPF there are kprobe
events ``tracekit:shutdown_FUNCTION``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tracekit.analysis.each_event import each_event
from tracekit.analysis.kprobe_events import kprobes
from tracekit.frozen import dataclass
from tracekit.timeline.boot import Boot
from tracekit.timeline.events import Events

__all__ = ["CallEnd", "Device", "call_ends", "device_shutdowns", "slowness"]

_BPF = "device:shutdown"
_KPROBE = "tracekit:shutdown_"
_RETURN = "_return"
_NESTED = 256  # more calls than can be nested


@dataclass(frozen=True, slots=True)
class Device:
    """One call of a shutdown callback, ``function``.

    ``start_ns`` is on the session's axis, None if no clock tells; ``duration_ns`` is None if
    the call never returned (``finished`` false) or was not timed. ``bus_master``: whether the
    device, one on PCI, could still do DMA when the call returned; None where that is not known.
    """

    name: str
    driver: str
    function: str
    boot: int
    start_ns: int | None
    duration_ns: int | None
    bus_master: bool | None
    finished: bool


@dataclass(frozen=True, slots=True)
class CallEnd:
    """The begin or the end of a call; ``at``: when (ns on the axis).

    ``master``: whether the device was bus master at that moment, None where that is not known.
    """

    at: int
    pid: int
    device: Device
    returned: bool
    master: bool | None = None


def _events(events: Events, boot: Boot) -> Iterator[tuple[str, str, bool]]:
    """(event, its function if it has only one, whether it marks the return)."""
    yield _BPF, "", False
    yield _BPF + _RETURN, "", True
    for event, function, returned in kprobes(boot):
        if event.startswith(_KPROBE):
            yield event, function, returned


def _function(boot: Boot, value: object) -> str:
    if not isinstance(value, int):
        return ""
    symbol = boot.context.symbols.lookup(value)
    return symbol.name if symbol else f"{value:#x}"


def _text(value: object) -> str:
    """A name; a kprobe event says ``(fault)`` if it could not be read."""
    return value if isinstance(value, str) and value != "(fault)" else ""


def _end(
    boot: Boot, ns: int, pid: int, row: dict[str, Any], function: str, returned: bool
) -> CallEnd:
    master, took = row.get("bus_master"), row.get("duration_ns")
    device = Device(
        name=_text(row.get("device")),
        driver=_text(row.get("driver")),
        function=function or _function(boot, row.get("function")),
        boot=boot.index,
        start_ns=ns,
        duration_ns=took if isinstance(took, int) else None,
        bus_master=bool(master) if returned and master in (0, 1) else None,
        finished=returned,
    )
    return CallEnd(ns, pid, device, returned, bool(master) if master in (0, 1) else None)


def _call(begun: CallEnd | None, end: CallEnd) -> Device:
    """A call that returned, from both its events: each may know what the other does not.

    An event is stamped when it is written, which an interrupt may delay after the function began;
    the probe's own measure does not have that.
    """
    device, took = end.device, end.device.duration_ns
    if begun is None:
        return replace(device, start_ns=None if took is None else end.at - took)
    return replace(
        device,
        name=device.name or begun.device.name,
        driver=device.driver or begun.device.driver,
        start_ns=begun.at if took is None else min(begun.at, end.at - took),
        duration_ns=end.at - begun.at if took is None else took,
    )


def _calls(ends: Sequence[CallEnd]) -> Iterator[Device]:
    """Calls, paired from their begins and ends; the calls of one task are nested."""
    running: dict[tuple[int, str], list[CallEnd]] = {}
    for end in sorted(ends, key=lambda e: (e.at, e.returned)):
        mine = running.setdefault((end.pid, end.device.function), [])
        if not end.returned:
            mine.append(end)
            continue
        name = end.device.name
        newest = range(len(mine) - 1, max(len(mine) - _NESTED, 0) - 1, -1)
        fitting = (i for i in newest if not name or mine[i].device.name in (name, ""))
        newest_fit = next(fitting, None)
        yield _call(None if newest_fit is None else mine.pop(newest_fit), end)
    for left in running.values():
        yield from (begun.device for begun in left)


def slowness(device: Device) -> tuple[bool, int, int]:
    """Sort key: calls that never returned first, then the slowest first."""
    return device.finished, -(device.duration_ns or 0), device.start_ns or 0


def call_ends(events: Events, boot: Boot) -> list[CallEnd]:
    """The begins and ends of the calls of shutdown callbacks that a boot recorded."""
    return [
        _end(boot, ns, pid, row, function, returned)
        for event, function, returned in _events(events, boot)
        for ns, pid, row in each_event(events, boot.index, event)
    ]


def device_shutdowns(ends: Sequence[CallEnd], *, timed: bool) -> list[Device]:
    """Every call, from its ends; ``timed``: whether the boot's stamps count time."""
    return [d if timed else replace(d, start_ns=None) for d in _calls(ends)]
