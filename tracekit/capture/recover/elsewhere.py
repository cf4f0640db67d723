"""Regions out of files, read on a machine that may have nothing to do with what recorded them.

Only the regions are saved, and nothing of the kernel that runs here: a dump that is looked at on a
laptop is no handover to the laptop. That takes no root.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from tracekit.capture.recover.attached import with_writers
from tracekit.capture.recover.chain import Chain, check_session, known_of
from tracekit.capture.recover.discover import Discovery, open_given, places_of
from tracekit.capture.recover.recover import RecoverResult, clear_incoming, refuse_doubles
from tracekit.capture.recover.regions import Fetching, SavedRegion, assign, drop_doubles
from tracekit.capture.recover.verdict import judge_file
from tracekit.capture.save.boots import NOBODY, Owner, find_owner, known_boots
from tracekit.capture.save.bpf_store import finish_bpf
from tracekit.capture.save.kernel import UNKNOWN_KERNEL
from tracekit.carriers.files import is_device
from tracekit.errors import Diagnostic, NothingToRecover, SourceError
from tracekit.parameters import FileRegion, MemoryFile, RegionSpec
from tracekit.remarks import Progress, Remarks, no_progress
from tracekit.session import SessionWriter
from tracekit.session.files import dump_json
from tracekit.session.identity import identity
from tracekit.session.names import INCOMING

__all__ = ["is_elsewhere", "recover_files"]

_READER = "file"  # what stands in place of the boot that read a region


def is_elsewhere(
    regions: Sequence[RegionSpec | FileRegion], memory: MemoryFile | None, *, same_machine: bool
) -> bool:
    """Whether the regions are all in plain files, which may come from anywhere.

    A device is this machine's own memory; ``same_machine``: so the user says of the files.
    """
    if same_machine or not (regions or memory):
        return False
    paths = [region.path for region in regions if isinstance(region, FileRegion)]
    if memory is not None:
        paths.append(memory.path)
    elif len(paths) < len(regions):
        return False
    return not any(is_device(path) for path in paths)


def _chain(writer: SessionWriter) -> Chain:
    """The session's boots, and behind them one that is not there."""
    boots = known_boots(writer)
    return Chain(boots, max(boots, default=-1) + 1, True, {}, {})


def _owner(writer: SessionWriter, chain: Chain, region: SavedRegion) -> tuple[SavedRegion, Owner]:
    """The region with all its writers, and the boot that it is of."""
    facts = [fact for fact in chain.facts(writer) if fact.index != chain.here]
    fallback = Owner(NOBODY, "nothing tells which boot wrote it")
    if len(chain.boots) == 1:
        fallback = Owner(next(iter(chain.boots)), "the session has only this boot")
    header = bytes.fromhex(region.header)
    owner = find_owner(region.name, region.address, header, facts, fallback)
    region, first = with_writers(writer, chain, region, owner, owner.boot)
    if first == owner:
        return region, owner
    return region, Owner(
        first.boot,
        f"boot {owner.boot} has attached it again and recorded on after this boot's events: their "
        "time stamps step back there",
    )


def _unknown_boot(writer: SessionWriter, boots: Mapping[int, Mapping[str, Any]]) -> int:
    """The session's boot of which nothing is known, made where there is none."""
    for index, kernel in boots.items():
        if not kernel.get("known"):
            return index
    index = max(boots, default=-1) + 1
    writer.write(f"boots/{index}/kernel.json", dump_json(dict(UNKNOWN_KERNEL)))
    writer.add_boot(index)
    return index


def _place(
    writer: SessionWriter, chain: Chain, saved: Sequence[SavedRegion], remarks: Remarks
) -> list[SavedRegion]:
    """Give each region to the boot that wrote it, with remarks."""
    pairs = [_owner(writer, chain, region) for region in saved]
    boots = dict(chain.boots)
    if any(owner.boot == NOBODY for _, owner in pairs):
        check_session(chain, Discovery([], []), pairs, writer.path, remarks)
        unknown = _unknown_boot(writer, boots)
        boots.setdefault(unknown, UNKNOWN_KERNEL)
        pairs = [
            (region, Owner(unknown, owner.evidence) if owner.boot == NOBODY else owner)
            for region, owner in pairs
        ]
    placed = []
    for region, owner in pairs:
        data = writer.read(f"{region.base}.raw")
        remarks.extend(judge_file(region.name, region.origin, data))
        if not boots[owner.boot].get("known"):
            remarks.add(
                "previous-unknown",
                "warning",
                f"boot {owner.boot}",
                f"no snapshot of the kernel that wrote {region.name} is in the session, so its "
                "events cannot be named: 'tracekit snapshot -o SESSION' takes one there, while "
                "that kernel runs",
            )
        placed.append(assign(writer, region, owner, identity(boots[owner.boot]), remarks))
    return placed


def _with_earlier(writer: SessionWriter, remarks: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The session's remarks that stay true, and the new ones."""
    about = {(remark.code, remark.where) for remark in remarks}
    earlier = [e.diagnostic for e in writer.manifest.diagnostics if e.boot is None]
    return [remark for remark in earlier if (remark.code, remark.where) not in about] + [*remarks]


def recover_files(
    session_path: str | os.PathLike[str],
    regions: Sequence[RegionSpec | FileRegion] = (),
    progress: Progress = no_progress,
    memory: MemoryFile | None = None,
) -> RecoverResult:
    """Fetch regions out of files, and those at physical addresses out of ``memory``.

    Without ``regions`` those that the session's boots had, where ``memory`` holds them. Raises
    :class:`~tracekit.errors.NothingToRecover` or :class:`~tracekit.errors.SourceError`, in which
    cases nothing is added to the session, and :class:`~tracekit.errors.SessionError`.
    """
    refuse_doubles(regions)
    remarks = Remarks()
    with ExitStack() as stack:
        writer = stack.enter_context(SessionWriter.open(session_path))
        chain = _chain(writer)
        finish_bpf(writer)
        try:
            places = [
                place
                for boot in sorted(chain.boots, reverse=True)
                for place in places_of(known_of(writer, chain, boot))
            ]
            found, sources = open_given(regions, memory, places, stack)
            saved = Fetching(sources, writer, _READER, chain.here, remarks, progress).fetch(found)
        except (NothingToRecover, SourceError):
            clear_incoming(writer)
            writer.abandon()
            raise
        placed = _place(writer, chain, saved, remarks)
        remarks.add(
            "regions-only",
            "info",
            str(writer.path),
            "the memory is from a file, so nothing of the kernel that runs here was saved: it need "
            "not be the one that came after. Where it is, --same-machine saves its side, too",
        )
        drop_doubles(writer)
        clear_incoming(writer)
        writer.set_diagnostics(None, _with_earlier(writer, remarks.diagnostics))
        writer.finish("writing" if writer.names(INCOMING) else "recovered")
        owners = [region.boot for region in placed if region.boot is not None]
        known = any(known_boots(writer).get(boot, {}).get("known") for boot in owners)
        return RecoverResult(
            writer.path, None, None, tuple(placed), known, tuple(remarks.diagnostics)
        )
