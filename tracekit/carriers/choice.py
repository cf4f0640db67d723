"""Which carrier a machine has: the one decision that doctor, setup, record and recover share."""

from __future__ import annotations

from tracekit.carriers.carrier import Carrier, Verdict
from tracekit.carriers.carve_out import CarveOut
from tracekit.carriers.kho_regions import KhoRegions
from tracekit.carriers.left_in_place import LeftInPlace
from tracekit.carriers.luo_memfd import LuoMemfd
from tracekit.carriers.machine import Machine
from tracekit.carriers.vmcore import Vmcore
from tracekit.errors import UsageError

__all__ = ["CARRIERS", "CHOICES", "choose", "verdicts"]

#: The best first; what one has found is not looked for again.
CARRIERS: tuple[Carrier, ...] = (KhoRegions(), Vmcore(), CarveOut(), LuoMemfd(), LeftInPlace())
#: Those that a machine can be set up for.
CHOICES = ("kho", "carveout")
_RANK = ("in use", "ready", "possible", "unknown", "no")


def verdicts(machine: Machine) -> list[Verdict]:
    """What the machine has of each carrier."""
    return [carrier.describe(machine) for carrier in CARRIERS]


def choose(machine: Machine, wanted: str | None = None) -> Verdict:
    """The carrier to record with: ``wanted``, else the one in use, else the best that can be.

    One that can be only perhaps (``unknown``) comes after one that surely can. Raises
    :class:`~tracekit.errors.UsageError` where the ``wanted`` one cannot be, or none.
    """
    known = {v.carrier: v for v in verdicts(machine) if v.carrier in CHOICES}
    if wanted is not None:
        verdict = known[wanted]
        if verdict.state == "no":
            raise UsageError(f"--carrier {wanted}: {verdict.why}{_next(verdict)}")
        return verdict
    best = min(known.values(), key=lambda v: (_RANK.index(v.state), CHOICES.index(v.carrier)))
    if best.state == "no":
        reasons = "; ".join(f"{v.carrier}: {v.why}{_next(v)}" for v in known.values())
        raise UsageError(f"no way that memory survives on this machine: {reasons}")
    return best


def _next(verdict: Verdict) -> str:
    return f": {verdict.remedy}" if verdict.remedy else ""
