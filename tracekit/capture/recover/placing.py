"""Where the regions that were copied go: to the boots that recorded them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracekit.capture.recover.attached import with_writers
from tracekit.capture.recover.chain import Chain, owner_of_leftover
from tracekit.capture.recover.discover import Discovery
from tracekit.capture.recover.regions import SavedRegion, assign, leftovers, set_aside
from tracekit.capture.save.boots import NOBODY, Owner
from tracekit.capture.save.kernel import UNKNOWN_KERNEL
from tracekit.remarks import Remarks
from tracekit.session import SessionWriter
from tracekit.session.files import dump_json
from tracekit.session.identity import identity

__all__ = ["add_unknown_boot", "adopt", "placed"]


def placed(
    writer: SessionWriter,
    chain: Chain,
    pairs: Sequence[tuple[SavedRegion, Owner]],
    owners: Sequence[Owner],
    remarks: Remarks,
) -> list[SavedRegion]:
    """The regions, those that were copied now with the boots that ``owners`` name."""
    identities = [identity(chain.boots.get(owner.boot, chain.kernel)) for owner in owners]
    return [
        assign(writer, region, owner, wrote, remarks)
        if region.boot is None
        else region.of_boot(owner.boot)
        for (region, _), owner, wrote in zip(pairs, owners, identities, strict=True)
    ]


def adopt(writer: SessionWriter, chain: Chain, read_in: str, remarks: Remarks) -> None:
    """Assign the regions that a recover in an earlier boot copied before it was killed.

    What is nobody's is kept beside the running boot's.
    """
    facts = chain.facts(writer)
    for region in leftovers(writer, read_in):
        owner = owner_of_leftover(region, chain, facts)
        reader = next((i for i, k in chain.boots.items() if identity(k) == region.read_in), -1)
        region, owner = with_writers(writer, chain, region, owner, reader)
        where = f"region {region.name} in {region.directory}"
        if owner.boot == NOBODY:
            aside = set_aside(writer, region, chain.here)
            message = "a recover that was killed copied it; nothing tells which boot wrote it: "
            remarks.add("region-left-over", "warning", where, f"{message}it is in {aside}")
            continue
        message = f"a recover that was killed copied it; it is now boot {owner.boot}'s"
        remarks.add("region-left-over", "info", where, message)
        assign(writer, region, owner, identity(chain.boots[owner.boot]), remarks)


def add_unknown_boot(
    writer: SessionWriter, chain: Chain, discovery: Discovery, owners: list[Owner]
) -> list[Owner]:
    """Insert an unknown boot before the running one; returns the owners, renumbered."""
    # The index is free where a run that was killed has made room already.
    free = chain.here > 0 and chain.here - 1 not in chain.boots
    moved = 0 if free and not chain.is_new else 1
    if moved and not chain.is_new:
        writer.shift_boots(chain.here)
        chain.boots = {i + (i >= chain.here): kernel for i, kernel in chain.boots.items()}
    chain.here += moved
    unknown = chain.here - 1
    release = discovery.metadata.release if discovery.metadata else None
    kernel = dict(UNKNOWN_KERNEL) | {"release": release}
    writer.write(f"boots/{unknown}/kernel.json", dump_json(kernel))
    writer.add_boot(unknown)
    chain.boots[unknown] = kernel
    return [
        replace(o, boot=unknown if o.boot == NOBODY else o.boot + moved * (o.boot >= unknown))
        for o in owners
    ]
