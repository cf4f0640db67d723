"""Whether KHO is on, and why; which version; what changed since the kernel before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tracekit.capture.kho.cost import cost_of
from tracekit.capture.kho.evidence import Evidence
from tracekit.errors import ParseError
from tracekit.frozen import dataclass
from tracekit.kho.item import Item, item, size_text
from tracekit.kho.scratch import scratch_parameter
from tracekit.kho.tree import parse_kexec_metadata
from tracekit.parameters import parse_cmdline, split_parameters

__all__ = ["State", "state_item", "state_of"]

_GAVE_UP = ("disabling kexec handover", "Failed to reserve scratch area")
_LINES = ("KHO:", "luo:", "kexec handover", *_GAVE_UP)
_MOST_LINES = 8


@dataclass(frozen=True, slots=True)
class State:
    """``kho`` and ``luo``: whether they are on; ``why`` and ``luo_why``: how that is known.

    ``version``: the root tree's, '' where there is none at hand. ``came``: whether this kernel got
    KHO data from the one before, whose release is ``previous``; ``count``: the kexecs with KHO that
    led here. ``lines``: what the log says.
    """

    kho: Literal["on", "off", "unknown"]
    why: str
    luo: Literal["on", "off", "unknown"]
    luo_why: str
    version: str
    came: bool | None
    previous: str
    count: int | None
    lines: tuple[str, ...]

    def changes(self, before: Evidence, now: Evidence) -> list[str]:
        """What is not as it was in the kernel before."""
        return list(_changes(before, now))


def _lines(log: str, words: tuple[str, ...]) -> tuple[str, ...]:
    lines = (line for line in log.splitlines() if any(word in line for word in words))
    found = [" ".join(line.split())[:200] for line in lines if "ommand line:" not in line]
    return tuple(found[:_MOST_LINES])


def _option(evidence: Evidence, name: str) -> str | None:
    """A configuration option: ``n`` where it is not set, None where that is not known."""
    return None if evidence.config is None else evidence.config.get(name, "n")


def _kho(evidence: Evidence) -> tuple[Literal["on", "off", "unknown"], str]:
    asked = parse_cmdline(evidence.cmdline).kho
    gave_up = _lines(evidence.log, _GAVE_UP)
    default = _option(evidence, "KEXEC_HANDOVER_ENABLE_DEFAULT")
    if any(name.startswith("out/") for name in evidence.files):
        if asked:
            return "on", "kho=on is on the command line"
        if default == "y":
            return "on", "by default: CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y"
        return "on", "debugfs shows it; what switched it on is not known"
    if _option(evidence, "KEXEC_HANDOVER") == "n":
        return "off", "this kernel is built without CONFIG_KEXEC_HANDOVER"
    if asked is False:
        return "off", "kho=off is on the command line"
    if gave_up:
        return "off", f"the kernel gave it up while it booted: {gave_up[0]}"
    if asked is None and default == "n":
        return "off", "no kho=on on the command line, and off by default"
    wanted = asked or default == "y"
    if wanted and not evidence.unseen.get("kho"):
        switch = "kho=on is on the command line" if asked else "it is on by default"
        if _option(evidence, "KEXEC_HANDOVER_DEBUGFS") == "n":
            return "unknown", f"{switch}, but this kernel does not show it in debugfs"
        return "unknown", f"{switch}, but debugfs shows nothing: not mounted, not built in, or off"
    return "unknown", evidence.unseen.get("kho") or "neither debugfs nor the configuration tells"


def _luo(evidence: Evidence) -> tuple[Literal["on", "off", "unknown"], str]:
    values = [value for name, value in split_parameters(evidence.cmdline) if name == "liveupdate"]
    asked = parse_cmdline(f"kho={values[-1] or ''}").kho if values else None
    if evidence.liveupdate or "out/sub_fdts/LUO" in evidence.files:
        return "on", "/dev/liveupdate is there" if evidence.liveupdate else "KHO hands it on"
    if _option(evidence, "LIVEUPDATE") == "n":
        return "off", "this kernel is built without CONFIG_LIVEUPDATE"
    if not asked:
        return "off", "no liveupdate=on on the command line"
    if evidence.liveupdate is False:
        return "off", "liveupdate=on is on the command line, but there is no /dev/liveupdate"
    return "unknown", "liveupdate=on is on the command line, but nothing shows it"


def state_of(evidence: Evidence) -> State:
    """The state, as far as it can be seen."""
    kho, why = _kho(evidence)
    luo, luo_why = _luo(evidence)
    tree = evidence.tree("out") or evidence.tree("in")
    came: bool | None = "in/fdt" in evidence.files
    if not came and (evidence.unseen.get("kho") or kho == "unknown"):
        came = None
    previous, count = "", None
    data = evidence.files.get("in/sub_fdts/kexec-metadata")
    if data is not None:
        try:
            metadata = parse_kexec_metadata(data)
            previous, count = metadata.release, metadata.kexec_count
        except ParseError:
            pass  # the section on blobs says so
    return State(
        kho, why, luo, luo_why, ";".join(tree.compatible) if tree else "", came, previous, count,
        _lines(evidence.log, _LINES),
    )  # fmt: skip


def _changes(before: Evidence, now: Evidence) -> Iterator[str]:
    pairs = [
        ("the kernel", before.release, now.release),
        ("KHO", state_of(before).kho, state_of(now).kho),
        ("the version", state_of(before).version, state_of(now).version),
        ("LUO", state_of(before).luo, state_of(now).luo),
        ("kho_scratch=", scratch_parameter(before.cmdline)[0], scratch_parameter(now.cmdline)[0]),
    ]
    for what, was, is_ in pairs:
        if was != is_ and (was or is_):
            yield f"{what}: {was or 'none'} → {is_ or 'none'}"
    was_cost, cost = cost_of(before), cost_of(now)
    if was_cost and cost and was_cost.total != cost.total:
        yield f"scratch: {size_text(was_cost.total)} → {size_text(cost.total)}"


def state_item(evidence: Evidence, state: State, before: Evidence | None) -> Item:
    """The section on the state."""
    children = [item("KHO", state.kho, state.why), item("because", state.why)]
    if state.version:
        children.append(item("version", state.version))
    came = {True: "from the kernel before", False: "none: a boot without KHO", None: "not known"}
    arrived = came[state.came]
    if state.previous:
        arrived += f", {state.previous}; kexecs with KHO so far: {state.count}"
    children.append(item("KHO data", arrived))
    children.append(item("live update (LUO)", f"{state.luo}: {state.luo_why}"))
    if before is not None:
        changes = [item(one) for one in _changes(before, evidence)]
        value = f"{len(changes)} things" if changes else "nothing that can be seen"
        children.append(item(f"changed since {before.where}", value, children=changes))
    if state.lines:
        lines = [item(line) for line in state.lines]
        children.append(item("the kernel's log", f"{len(lines)} lines", children=lines))
    for what, why in evidence.unseen.items():
        children.append(item(f"not seen: {what}", why))
    return item("State", state.kho, "", children)
