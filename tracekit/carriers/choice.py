"""Which carrier a machine has: the one decision that doctor, setup, record and recover share."""

from __future__ import annotations

from tracekit.carriers.carrier import Carrier, Verdict
from tracekit.carriers.carve_out import CarveOut
from tracekit.carriers.kho_regions import KhoRegions
from tracekit.carriers.left_in_place import LeftInPlace
from tracekit.carriers.luo.memfd import LuoMemfd
from tracekit.carriers.machine import Machine
from tracekit.carriers.vmcore import Vmcore
from tracekit.errors import UsageError
from tracekit.parameters import TraceInstance

__all__ = ["CARRIERS", "CHOICES", "carrier_of", "choose", "for_jump", "verdicts"]

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


def carrier_of(instance: TraceInstance) -> str:
    """The carrier of an instance on preserved memory, by where its command line puts it."""
    return "kho" if instance.address is None else "carveout"


def for_jump(machine: Machine, instance: TraceInstance, wanted: str | None = None) -> Verdict:
    """What becomes of the record of ``instance`` in a kexec from this machine.

    Raises :class:`~tracekit.errors.UsageError` where it cannot survive, and where it is not on the
    carrier ``wanted``. ``unknown`` is left to the user.
    """
    mine = carrier_of(instance)
    place = instance.region or f"{instance.address or 0:#x}"
    if wanted not in (None, mine):
        raise UsageError(
            f"--carrier {wanted}: {instance.name} lies on {place}, and so on the carrier {mine}: "
            f"boot with 'tracekit setup --carrier {wanted}', or name another instance"
        )
    verdict = next(v for v in verdicts(machine) if v.carrier == mine)
    if verdict.state in ("in use", "unknown"):
        return verdict
    raise UsageError(
        f"the record of {instance.name} on {place} would not survive the jump: "
        f"{verdict.why}{_next(verdict)}. --force jumps all the same"
    )


def _next(verdict: Verdict) -> str:
    return f": {verdict.remedy}" if verdict.remedy else ""
