"""``tracekit recover``: fetches the preserved recording into a session, after the jump.

The order matters: first the regions are copied raw to disk; only then are they parsed, the
kernel's own trace files read, and the new boot saved. A run that was killed is completed by the
next one, which keeps every region that was copied whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tracekit.capture.recover.attached import older_in, with_writers
from tracekit.capture.recover.backup import find_backups, save_backup
from tracekit.capture.recover.chain import (
    Chain,
    check_previous,
    check_session,
    known_previous,
    owners_of,
    read_chain,
    recorder_of,
)
from tracekit.capture.recover.discover import Discovery, discover
from tracekit.capture.recover.placing import add_unknown_boot, adopt, placed
from tracekit.capture.recover.regions import (
    UNREADABLE,
    Fetching,
    SavedRegion,
    drop_doubles,
    keep_unfinished,
)
from tracekit.capture.recover.verdict import (
    Contents,
    RegionFacts,
    judge,
    judge_file,
    look_into,
    nothing_recorded,
)
from tracekit.capture.save.boot_files import Saving, kernel_facts, save_boot
from tracekit.capture.save.boots import NOBODY, Owner
from tracekit.capture.save.bpf_store import finish_bpf
from tracekit.capture.save.clocks import sample_trace_clock
from tracekit.capture.save.pipes import drain_pipes, finish_pipes, own_pipes
from tracekit.capture.save.started_by import StartedBy, started_by
from tracekit.carriers.carve_out import NAMED
from tracekit.carriers.evidence import why_locked
from tracekit.carriers.files import FILE
from tracekit.carriers.machine import crash_kernel
from tracekit.carriers.memory_use import Memory, Use, read_memory
from tracekit.errors import Diagnostic, NothingToRecover, SourceError, UsageError
from tracekit.frozen import dataclass, field
from tracekit.parameters import FileRegion, MemoryFile, RegionSpec, parse_cmdline
from tracekit.remarks import Progress, Remarks, no_progress
from tracekit.session import SessionWriter, safe_name
from tracekit.session.identity import identity
from tracekit.session.names import INCOMING
from tracekit.sysroot import Sysroot, find_tracefs

__all__ = ["RecoverResult", "clear_incoming", "recover", "refuse_doubles"]

_LOOK_INTO = 256 << 20  # bytes; a larger region is not read into memory to classify it


@dataclass(frozen=True, slots=True)
class RecoverResult:
    """What was recovered: the regions and their owners, and the boot that read them.

    ``boot`` is None where nothing was saved but regions out of files. ``previous_known`` is False
    when no snapshot of the previous kernel was in the session. ``started``: how this kernel came
    up.
    """

    session: Path
    boot: int | None
    release: str | None
    regions: tuple[SavedRegion, ...]
    previous_known: bool
    diagnostics: tuple[Diagnostic, ...]
    started: StartedBy = field(default_factory=StartedBy)


def _fetch(
    root: Sysroot, fetching: Fetching, discovery: Discovery, copied: bool
) -> list[SavedRegion]:
    """Copy the regions; if none could be read, the error tells of kernel lockdown.

    None are needed where this kernel has ``copied`` a buffer of an older one.
    """
    lacking = discovery.lacking
    if discovery.found:
        try:
            return fetching.fetch(discovery.found)
        except NothingToRecover as error:
            lacking = f"{error}{why_locked(root)}"
    if not copied:
        raise NothingToRecover(lacking)
    message = f"only the kernel's copy of the old buffer is left: {lacking}"
    fetching.remarks.add("copy-only", "warning", "regions", message)
    return []


def _with_owners(
    writer: SessionWriter, chain: Chain, regions: Sequence[SavedRegion], remarks: Remarks
) -> list[tuple[SavedRegion, Owner]]:
    """Each region with the boot it is of, and with all its writers where it has several."""
    owners = owners_of(regions, chain, chain.facts(writer))
    pairs = [
        with_writers(writer, chain, region, owner, chain.here)
        for region, owner in zip(regions, owners, strict=True)
    ]
    return _without_spares(writer, chain, pairs, remarks)


def _without_spares(
    writer: SessionWriter,
    chain: Chain,
    pairs: Sequence[tuple[SavedRegion, Owner]],
    remarks: Remarks,
) -> list[tuple[SavedRegion, Owner]]:
    """The pairs without carve-outs that hold the record of a kernel of no boot here.

    The other half, which the kernel before last recorded into another session, is no loss of this
    one where this one's own record is there. The memory is left as it is.
    """
    if not any(owner.boot == chain.previous for _, owner in pairs):
        return list(pairs)
    kept = []
    for region, owner in pairs:
        if owner.boot != NOBODY or region.found_by != NAMED or region.boot is not None:
            kept.append((region, owner))
            continue
        writer.remove(f"{region.base}.raw")
        writer.remove(f"{region.base}.json")
        remarks.add(
            "region-of-another-session", "info", f"region {region.name}",
            f"not saved: {owner.evidence}, so an older kernel recorded it, into another session; "
            "to save it all the same: --region "
            f"{region.name}@{region.address:#x}:{region.size:#x}",
        )  # fmt: skip
    return kept


def _facts(
    root: Sysroot,
    writer: SessionWriter,
    chain: Chain,
    discovery: Discovery,
    pairs: Sequence[tuple[SavedRegion, Owner]],
) -> list[RegionFacts]:
    """What is known of every region that was copied."""
    memory = read_memory(root)
    carried = {(spec.address, spec.size) for spec in discovery.carried}
    command = parse_cmdline(str(chain.kernel.get("cmdline") or ""))
    try:
        log = (root.kernel_log() or b"").decode("utf-8", "replace")
    except SourceError:
        log = ""  # save_boot() remarks on it
    facts = []
    for region, owner in pairs:
        if region.address is None:
            continue  # nobody knows whose memory that was
        data = writer.read(f"{region.base}.raw") if region.size <= _LOOK_INTO else None
        contents = Contents("unclear") if data is None else look_into(data, region.unread)
        spec = RegionSpec(region.name, region.address, region.size)
        recorder = recorder_of(writer, chain, region, owner)
        earlier = [
            i for i, kernel in chain.boots.items() if identity(kernel) in region.writers[:-1]
        ]
        older = older_in(writer, earlier, region) if region.writers else {}
        kept: Literal["kho", "vmcore", "carve-out", "file", "nothing"] = "nothing"
        if region.carrier == FILE:
            kept = "file"
        elif region.carrier == "vmcore":
            kept = "vmcore"
        elif region.carrier == "mem":
            kept = "carve-out"
        elif any(a <= spec.address and spec.address + spec.size <= a + n for a, n in carried):
            kept = "kho"
        use = _use(chain, memory, region, owner)
        facts.append(
            RegionFacts(
                spec, contents, owner.boot, chain.here, command, log, recorder, use, kept, older
            )
        )  # fmt: skip
    return facts


def _use(chain: Chain, here: Memory, region: SavedRegion, owner: Owner) -> Use:
    """Who uses a region's memory: by this kernel's word, else by that of the boot that wrote it."""
    range_, head = (region.name, region.address, region.size), bytes.fromhex(region.header)
    use = here.use_of(*range_, head)
    if use.foreign or owner.boot not in chain.boots:
        return use
    wrote = Memory.of(str(chain.boots[owner.boot].get("cmdline") or ""))
    return wrote.use_of(*range_, head)


def _explain(
    root: Sysroot,
    writer: SessionWriter,
    chain: Chain,
    discovery: Discovery,
    pairs: Sequence[tuple[SavedRegion, Owner]],
    copied: bool,
    remarks: Remarks,
) -> None:
    """Remark on what happened to the regions; ``copied``: this kernel has a copy of one.

    Raises :class:`~tracekit.errors.NothingToRecover` when no region that KHO carried has
    anything of an earlier kernel in it; the copies are removed from the session.
    """
    facts = _facts(root, writer, chain, discovery, pairs)
    judged = [diagnostic for fact in facts for diagnostic in judge(fact)]
    recorded = copied or any(fact.holds_recording for fact in facts)
    if not discovery.given and not recorded:
        for region, _ in pairs:
            if region.boot is None:
                writer.remove(f"{region.base}.raw")
                writer.remove(f"{region.base}.json")
        unread = [d for d in remarks.diagnostics if d.code == UNREADABLE]
        locked = why_locked(root) if unread else ""
        raise NothingToRecover(nothing_recorded(facts, judged, unread) + locked)
    remarks.extend(judged)
    for region, _ in pairs:
        if region.address is None:
            data = writer.read(f"{region.base}.raw")
            remarks.extend(judge_file(region.name, region.origin, data))
    if discovery.crash:
        remarks.add(
            "crash-kernel",
            "warning",
            f"boot {chain.here}",
            f"this is a crash kernel ({discovery.crash}): a panic brought it up, not a handover, "
            "and the old kernel's memory is in /proc/vmcore; KHO carries nothing into it",
        )
    elif discovery.kho and parse_cmdline(str(chain.kernel.get("cmdline") or "")).kho is False:
        remarks.add(
            "kho-off",
            "warning",
            "proc/cmdline",
            "kho=off on this kernel's command line: it took over what the old one handed on, but "
            "will hand nothing on itself",
        )


def clear_incoming(writer: SessionWriter) -> None:
    """Remove what is left of ``incoming/`` when no region is in it any more."""
    if not any(name.endswith(".raw") for name in writer.names(INCOMING)):
        writer.remove(INCOMING.rstrip("/"))


def _save_new_boot(saving: Saving, kernel: Mapping[str, Any], discovery: Discovery) -> None:
    """Save the running kernel's side: its trace pages, its formats and names, its KHO data."""
    tracefs = find_tracefs(saving.root)
    markers = sample_trace_clock(saving.root, tracefs) if tracefs is not None else []
    pipes = own_pipes(saving, tracefs or "")
    cpus = drain_pipes(saving, pipes, kernel) if tracefs is not None else []
    metadata = asdict(discovery.metadata) if discovery.metadata else None
    save_boot(saving, {**kernel, "kexec_metadata": metadata}, markers)
    for name, data in discovery.kho.items():
        *above, last = name.split("/")
        rel = saving.rel("/".join(("kho/in", *above, safe_name(last))))
        if not saving.writer.has(rel):  # it came from physical memory, not from debugfs
            saving.writer.write(rel, data)
    finish_pipes(saving, pipes, cpus)


def refuse_doubles(regions: Sequence[RegionSpec | FileRegion]) -> None:
    """Raise :class:`~tracekit.errors.UsageError` for two regions of the same name."""
    if len({region.name for region in regions}) < len(regions):
        raise UsageError("--region: two regions of the same name")


def recover(
    root: Sysroot,
    session_path: str | os.PathLike[str],
    regions: Sequence[RegionSpec | FileRegion] = (),
    progress: Progress = no_progress,
    memory: MemoryFile | None = None,
    *,
    alone: bool = False,
) -> RecoverResult:
    """Fetch the regions (those given, else those KHO carried) and the running boot's side.

    ``memory`` is read in place of the machine's. ``alone``: that no region came is no error. Raises
    :class:`~tracekit.errors.NothingToRecover` with the evidence, or
    :class:`~tracekit.errors.SourceError`, in which cases nothing is added to the session, and
    :class:`~tracekit.errors.SessionError` when it cannot be written.
    """
    refuse_doubles(regions)
    about_regions, about_boot = Remarks(), Remarks()
    with ExitStack() as stack:
        kernel, at_hand = kernel_facts(root, about_boot)
        writer = stack.enter_context(SessionWriter.open(session_path))
        chain = read_chain(writer, kernel, at_hand)
        adopt(writer, chain, identity(kernel), about_regions)
        finish_bpf(writer)
        pairs: list[tuple[SavedRegion, Owner]] = []
        try:
            previous = known_previous(writer, chain)
            backups = find_backups(root, writer, chain, about_regions)
            discovery = discover(root, regions, about_regions, stack, previous, memory)
            fetching = Fetching(
                discovery.sources, writer, identity(kernel), chain.here, about_regions, progress
            )
            saved = _fetch(root, fetching, discovery, bool(backups))
            pairs = _with_owners(writer, chain, saved, about_regions)
            _explain(root, writer, chain, discovery, pairs, bool(backups), about_regions)
        except (NothingToRecover, SourceError):
            if not alone:
                clear_incoming(writer)
                writer.abandon()
                raise
            discovery, pairs, backups = Discovery([], [], crash=crash_kernel(root)), [], []
        owners = [owner for _, owner in pairs]
        if any(owner.boot == NOBODY for owner in owners):
            check_session(chain, discovery, pairs, writer.path, about_regions)
            owners = add_unknown_boot(writer, chain, discovery, owners)
        about_boot.where = f"boot {chain.here}"
        regions_here = placed(writer, chain, pairs, owners, about_regions)
        saving = Saving(root, writer, chain.here, about_boot, progress, at_hand)
        for backup in backups:
            save_backup(saving, backup, kernel)
        if any(owner.boot != chain.here for owner in owners):
            check_previous(writer, chain, discovery, about_regions)
        _save_new_boot(saving, kernel, discovery)
        drop_doubles(writer)
        keep_unfinished(writer, identity(kernel), chain.here, about_regions)
        clear_incoming(writer)
        writer.set_diagnostics(None, about_regions.diagnostics)
        writer.set_diagnostics(chain.here, about_boot.diagnostics)
        writer.finish("writing" if writer.names(INCOMING) else "recovered")
        before = chain.boots.get(chain.previous) if chain.previous is not None else None
        return RecoverResult(
            writer.path,
            chain.here,
            kernel["release"],
            tuple(regions_here),
            bool(before and before.get("known")),
            (*about_regions.diagnostics, *about_boot.diagnostics),
            started_by(kernel, kho=bool(discovery.kho)),
        )
