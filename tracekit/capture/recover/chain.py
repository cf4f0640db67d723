"""The chain of boots in a session, the place of the running one, and the owners of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tracekit.capture.cmdline.session_param import LUO, named_session
from tracekit.capture.recover.discover import GIVEN, Discovery
from tracekit.capture.recover.regions import SavedRegion
from tracekit.capture.save.boots import (
    NOBODY,
    BootFacts,
    Owner,
    boot_of,
    find_owner,
    known_boots,
)
from tracekit.carriers.evidence import Previous, previous_boot
from tracekit.carriers.ring_header import header_address
from tracekit.parameters import parse_cmdline
from tracekit.remarks import Remarks
from tracekit.session import SessionWriter, safe_name
from tracekit.session.identity import identity

__all__ = [
    "Chain",
    "check_previous",
    "check_session",
    "known_of",
    "known_previous",
    "owner_of_leftover",
    "owners_of",
    "read_chain",
    "recorder_of",
]


@dataclass(slots=True)
class Chain:
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
        """The facts that ownership is decided by, of every boot and the running one."""
        facts = [
            BootFacts.of(index, kernel, partial(writer.read, f"boots/{index}/kallsyms"))
            for index, kernel in self.boots.items()
            if index != self.here
        ]
        own = partial(self.at_hand.get, "proc/kallsyms")
        return [*facts, BootFacts.of(self.here, self.kernel, own)]


def read_chain(
    writer: SessionWriter, kernel: Mapping[str, Any], at_hand: Mapping[str, bytes]
) -> Chain:
    """The session's boots, and the place of the one that ``kernel`` describes."""
    boots = known_boots(writer)
    known = boot_of(kernel, boots)
    here = known if known is not None else max(boots, default=-1) + 1
    return Chain(boots, here, known is None, kernel, at_hand)


def known_previous(writer: SessionWriter, chain: Chain) -> Previous | None:
    """What the session knows of the boot before the running one."""
    return None if chain.previous is None else known_of(writer, chain, chain.previous)


def known_of(writer: SessionWriter, chain: Chain, boot: int) -> Previous:
    """What the session knows of a boot."""
    names = writer.names(f"boots/{boot}/")
    return previous_boot(writer.read, names, boot, chain.boots[boot])


def recorder_of(
    writer: SessionWriter, chain: Chain, region: SavedRegion, owner: Owner
) -> Previous | None:
    """The boot whose recording a region was to hold: its owner, else the last one that had it.

    None where no earlier boot recorded into it, and where the session has that recording already,
    read by an earlier boot: what became of the memory since does not matter.
    """
    earlier = sorted((i for i in chain.boots if i < chain.here), reverse=True)
    for boot in sorted(earlier, key=lambda i: i != owner.boot):
        known = parse_cmdline(str(chain.boots[boot].get("cmdline") or ""))
        if known.instance_of(region.name, region.address) is None:
            continue
        there = f"boots/{boot}/regions/{safe_name(region.name)}.raw"
        if region.boot is None and writer.has(there):
            return None
        return known_of(writer, chain, boot)
    return None


def _fallback(chain: Chain, how: str) -> Owner:
    """The owner of a region that neither its header nor a command line identifies."""
    previous = chain.previous
    if previous is None and how == GIVEN and not chain.is_new:
        return Owner(chain.here, "named with --region, and the session has only this boot")
    return Owner(
        NOBODY if previous is None else previous,
        f"found by {how}, and nothing else tells: taken for the previous boot's",
    )


def owners_of(regions: Sequence[SavedRegion], chain: Chain, facts: list[BootFacts]) -> list[Owner]:
    """The owner of each region; one that was assigned before keeps its owner."""
    return [
        Owner(region.boot, region.owner_evidence)
        if region.boot is not None
        else find_owner(
            region.name,
            region.address,
            bytes.fromhex(region.header),
            facts,
            _fallback(chain, region.found_by),
        )
        for region in regions
    ]


def check_session(
    chain: Chain,
    found: Discovery,
    pairs: Sequence[tuple[SavedRegion, Owner]],
    session: Path,
    remarks: Remarks,
) -> None:
    """Remark on a recording that no boot of the session can have written."""
    known = {i: k for i, k in chain.boots.items() if i < chain.here and k.get("known")}
    strange = [
        f"{region.name} ({written[1]:#x})"
        for region, owner in pairs
        if owner.boot == NOBODY and (written := header_address(bytes.fromhex(region.header)))
    ]
    if not known or not strange:
        return
    boots = ", ".join(
        f"boot {i} is {k.get('release')} with _text at {int(k.get('text_address') or 0):#x}"
        for i, k in known.items()
    )
    release = f"; KHO says the kernel before was {found.metadata.release}" if found.metadata else ""
    named = named_session(str(chain.kernel.get("cmdline") or ""))
    in_memory = named is not None and named.startswith(LUO)
    other = named is not None and not in_memory and Path(named) != session.absolute()
    remarks.add(
        "session-of-others",
        "error",
        str(session),
        f"no boot of this session wrote {', '.join(strange)}: {boots}{release}. It is saved as "
        "that of an unknown boot, whose events have no names. Is this the session that the old "
        "kernel recorded into, and was the snapshot taken in the boot that jumped?"
        + (f" This kernel's command line names {named}" if other else ""),
    )


def _kexecs(writer: SessionWriter, boot: int, kernel: Mapping[str, Any]) -> int | None:
    """How many kexecs led to a boot, None when that is not known."""
    metadata = kernel.get("kexec_metadata")
    if isinstance(metadata, Mapping) and isinstance(metadata.get("kexec_count"), int):
        return int(metadata["kexec_count"])
    kho = writer.names(f"boots/{boot}/kho/")
    came_in = any(name.startswith(f"boots/{boot}/kho/in/") for name in kho)
    return 0 if kho and not came_in else None


def _check_gapless(
    writer: SessionWriter, chain: Chain, boot: int, discovery: Discovery, remarks: Remarks
) -> None:
    """Remark on boots between the previous and the running one that are not in the session."""
    before = _kexecs(writer, boot, chain.boots[boot])
    now = discovery.metadata.kexec_count if discovery.metadata else None
    if before is not None and now is not None and now > before + 1:
        remarks.add(
            "kernel-missing",
            "warning",
            f"boot {chain.here}",
            f"KHO counts {now} kexecs to this kernel and {before} to boot {boot}: "
            f"{now - before - 1} in between left nothing in the session, so what lies between the "
            "two holds more than one jump",
        )


def check_previous(writer: SessionWriter, chain: Chain, found: Discovery, remarks: Remarks) -> None:
    """Remark on a previous boot that is unknown or is not the one KHO's metadata tells of."""
    if chain.previous is not None:
        _check_gapless(writer, chain, chain.previous, found, remarks)
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


def owner_of_leftover(region: SavedRegion, chain: Chain, facts: list[BootFacts]) -> Owner:
    """The owner of a region that a recover in an earlier boot copied before it was killed."""
    reader = next((i for i, k in chain.boots.items() if identity(k) == region.read_in), None)
    before = [i for i in chain.boots if reader is not None and i < reader]
    fallback = Owner(max(before, default=NOBODY), "taken for that of the boot before its reader")
    facts = [fact for fact in facts if fact.index != chain.here]
    return find_owner(region.name, region.address, bytes.fromhex(region.header), facts, fallback)
