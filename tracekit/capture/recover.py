"""``tracekit recover``: fetches the preserved recording into a session, after the jump.

The order is the point. First the regions are copied raw to disk; only then is anything in them
looked at, the kernel's own trace files are read, and the new boot is saved. A run that was killed
is completed by the next one, which keeps every region that was copied whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tracekit.capture.boots import (
    NOBODY,
    BootFacts,
    Owner,
    boot_of,
    find_owner,
    known_boots,
)
from tracekit.capture.cmdline import RegionSpec
from tracekit.capture.discover import Discovery, discover, open_cores
from tracekit.capture.kernel import UNKNOWN_KERNEL, identity
from tracekit.capture.pipes import drain_pipes, finish_pipes
from tracekit.capture.regions import INCOMING, Fetching, SavedRegion, assign
from tracekit.capture.remarks import Progress, Remarks, no_progress
from tracekit.capture.save import Saving, dump_json, find_tracefs, kernel_facts, save_boot
from tracekit.errors import Diagnostic, NothingToRecover, UsageError
from tracekit.session import SessionWriter, safe_name
from tracekit.sysroot import Sysroot

__all__ = ["RecoverResult", "recover"]


@dataclass(frozen=True, slots=True)
class RecoverResult:
    """What was recovered: the regions and their owners, and the boot that read them.

    ``previous_known`` is False when no snapshot of the previous kernel was in the session.
    """

    session: Path
    boot: int
    release: str | None
    regions: tuple[SavedRegion, ...]
    previous_known: bool
    diagnostics: tuple[Diagnostic, ...]


@dataclass(slots=True)
class _Chain:
    """The boots of the session and the place of the one that is running."""

    boots: dict[int, Mapping[str, Any]]
    here: int
    is_new: bool
    kernel: Mapping[str, Any]
    at_hand: Mapping[str, bytes]

    @property
    def previous(self) -> int | None:
        """The boot before the running one, if the session has one."""
        return max((index for index in self.boots if index < self.here), default=None)

    def facts(self, writer: SessionWriter) -> list[BootFacts]:
        """What ownership is decided by, for every boot and the running one."""
        facts = [
            BootFacts.of(index, kernel, partial(writer.read, f"boots/{index}/kallsyms"))
            for index, kernel in self.boots.items()
            if index != self.here
        ]
        own = partial(self.at_hand.get, "proc/kallsyms")
        return [*facts, BootFacts.of(self.here, self.kernel, own)]


def _chain(
    writer: SessionWriter, kernel: Mapping[str, Any], at_hand: Mapping[str, bytes]
) -> _Chain:
    boots = known_boots(writer)
    found = boot_of(kernel, boots)
    here = found if found is not None else max(boots, default=-1) + 1
    return _Chain(boots, here, found is None, kernel, at_hand)


def _fallback(chain: _Chain, how: str) -> Owner:
    """Whose a region is when neither its header nor a command line tells."""
    previous = chain.previous
    if previous is None and how == "--region" and not chain.is_new:
        return Owner(chain.here, "named with --region, and the session has only this boot")
    return Owner(
        NOBODY if previous is None else previous,
        f"found by {how}, and nothing else tells: taken for the previous boot's",
    )


def _owners(
    regions: Sequence[SavedRegion], chain: _Chain, facts: list[BootFacts], how: str
) -> list[Owner]:
    """The owner of each region; one that was assigned before keeps its."""
    return [
        Owner(region.boot, region.owner_evidence)
        if region.boot is not None
        else find_owner(
            region.name,
            region.address,
            bytes.fromhex(region.header),
            facts,
            _fallback(chain, how),
        )
        for region in regions
    ]


def _add_unknown_boot(
    writer: SessionWriter, chain: _Chain, found: Discovery, owners: list[Owner]
) -> list[Owner]:
    """Put a boot nothing was saved of before the running one; returns the owners, renumbered."""
    # A free place there: a run that was killed has made room already.
    free = chain.here > 0 and chain.here - 1 not in chain.boots
    moved = 0 if free and not chain.is_new else 1
    if moved and not chain.is_new:
        writer.shift_boots(chain.here)
        chain.boots = {i + (i >= chain.here): kernel for i, kernel in chain.boots.items()}
    chain.here += moved
    unknown = chain.here - 1
    release = found.metadata.release if found.metadata else None
    kernel = dict(UNKNOWN_KERNEL) | {"release": release}
    writer.write(f"boots/{unknown}/kernel.json", dump_json(kernel))
    writer.add_boot(unknown)
    chain.boots[unknown] = kernel
    return [
        replace(o, boot=unknown if o.boot == NOBODY else o.boot + moved * (o.boot >= unknown))
        for o in owners
    ]


def _clear_incoming(writer: SessionWriter) -> None:
    """Remove what is left of ``incoming/`` when no region is in it any more."""
    if not any(name.endswith(".raw") for name in writer.names(INCOMING)):
        writer.remove(INCOMING.rstrip("/"))


def _check_previous(chain: _Chain, found: Discovery, remarks: Remarks) -> None:
    """Remark on a previous boot that is unknown or looks like another than the one before."""
    previous = chain.boots.get(chain.previous) if chain.previous is not None else None
    if previous is None or not previous.get("known"):
        remarks.add(
            "previous-unknown",
            "warning",
            f"boot {chain.here - 1}",
            "no snapshot of the old kernel is in the session, so its events cannot be named: "
            "next time run 'tracekit snapshot -o SESSION' before the jump",
        )
    elif found.metadata and previous.get("release") != found.metadata.release:
        remarks.add(
            "previous-differs",
            "warning",
            f"boot {chain.previous}",
            f"KHO says the previous kernel was {found.metadata.release!r}, the session has "
            f"{previous.get('release')!r}: is it another machine's, or is a boot missing?",
        )


def _save_new_boot(saving: Saving, kernel: Mapping[str, Any], found: Discovery) -> None:
    """The running kernel's side: its trace pages, its formats and names, its KHO data."""
    tracefs = find_tracefs(saving.root)
    cpus = drain_pipes(saving, tracefs, kernel) if tracefs is not None else []
    metadata = asdict(found.metadata) if found.metadata else None
    save_boot(saving, {**kernel, "kexec_metadata": metadata})
    for name, data in found.blobs.items():
        *above, last = name.split("/")
        rel = saving.rel("/".join(("kho/in", *above, safe_name(last))))
        if not saving.writer.has(rel):  # it came out of physical memory, not from debugfs
            saving.writer.write(rel, data)
    finish_pipes(saving, cpus)


def recover(
    root: Sysroot,
    session_path: str | os.PathLike[str],
    regions: Sequence[RegionSpec] = (),
    progress: Progress = no_progress,
) -> RecoverResult:
    """Fetch the regions (those given, else those KHO carried) and the running boot's side.

    Raises :class:`~tracekit.errors.NothingToRecover` with the evidence, in which case the session
    is as it was, and :class:`~tracekit.errors.SessionError` when it cannot be written.
    """
    if len({spec.name for spec in regions}) < len(regions):
        raise UsageError("--region: two regions of the same name")
    about_regions, about_boot = Remarks(), Remarks()
    with ExitStack() as stack:
        cores = open_cores(root, about_regions)
        for core in cores:
            stack.enter_context(core.memory)
        found = discover(root, regions, cores, about_regions)
        kernel, at_hand = kernel_facts(root, about_boot)
        writer = stack.enter_context(SessionWriter.open(session_path))
        fetching = Fetching(cores, writer, found.how, identity(kernel), about_regions, progress)
        try:
            saved = fetching.fetch(found.regions)
        except NothingToRecover:
            _clear_incoming(writer)
            writer.abandon()
            raise
        chain = _chain(writer, kernel, at_hand)
        owners = _owners(saved, chain, chain.facts(writer), found.how)
        if any(owner.boot == NOBODY for owner in owners):
            owners = _add_unknown_boot(writer, chain, found, owners)
        about_boot.where = f"boot {chain.here}"
        placed = [
            assign(
                writer, region, owner,
                identity(chain.boots.get(owner.boot, kernel)), about_regions,
            )
            if region.boot is None
            else region.of_boot(owner.boot)
            for region, owner in zip(saved, owners, strict=True)
        ]  # fmt: skip
        if any(owner.boot != chain.here for owner in owners):
            _check_previous(chain, found, about_regions)
        _save_new_boot(
            Saving(root, writer, chain.here, about_boot, progress, at_hand), kernel, found
        )
        _clear_incoming(writer)
        writer.set_diagnostics(None, about_regions.diagnostics)
        writer.set_diagnostics(chain.here, about_boot.diagnostics)
        writer.finish("writing" if writer.names(INCOMING) else "recovered")
        previous = chain.boots.get(chain.previous) if chain.previous is not None else None
        return RecoverResult(
            writer.path,
            chain.here,
            kernel["release"],
            tuple(placed),
            bool(previous and previous.get("known")),
            (*about_regions.diagnostics, *about_boot.diagnostics),
        )
