"""Which carrier ``tracekit setup`` sets a machine up for, and with what parameters."""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath

from tracekit.capture.cmdline.bootloader import GRUB_FILE, KERNEL_CMDLINE, entry_lines
from tracekit.capture.cmdline.compose import preserved_instance
from tracekit.capture.cmdline.place import choose_address, taken_by
from tracekit.capture.cmdline.wanted import (
    carve_out_parameters,
    installed,
    kho_parameters,
    parse_size,
)
from tracekit.carriers.carve_out import halves
from tracekit.carriers.choice import choose, verdicts
from tracekit.carriers.machine import Machine
from tracekit.errors import SourceError, UsageError
from tracekit.sysroot import Sysroot

__all__ = ["parameters_for"]

_HALF = 8 << 20  # bytes of each half of a carve-out: every CPU that may come has its part


def parameters_for(
    root: Sysroot, carrier: str | None, size: str | None, address: int | None, kernel: str | None
) -> tuple[str, str, str]:
    """(carrier, why, its parameters) for the system below ``root``.

    What is None is chosen: the ``carrier`` by what the machine has, the ``size`` of a region, the
    ``address`` of a carve-out, which stays where there is one. ``kernel`` is the image that will be
    booted. Raises :class:`~tracekit.errors.UsageError`, and
    :class:`~tracekit.errors.SourceError` where nothing says which memory is free.
    """
    if size is not None:
        parse_size(size)
    machine = Machine(root)
    if not machine.release and kernel:  # an image: what is known is the kernel it will boot
        machine.release = PurePosixPath(kernel).name.partition("-")[2]
    verdict = choose(machine, carrier)
    if verdict.carrier == "kho":
        if address is not None:
            raise UsageError("--address is for --carrier carveout: KHO finds memory by itself")
        return "kho", verdict.why, kho_parameters(size or "4M")
    known = _known_place(root, machine)
    half = parse_size(size) if size else known[1] if known else _HALF
    iomem = machine.text("proc/iomem")
    if address is not None and (who := taken_by(iomem, address, 2 * half)):
        raise UsageError(f"--address {address:#x}: /proc/iomem calls that memory {who}")
    if address is None and known is not None and half == known[1]:
        address = None if taken_by(iomem, known[0], 2 * half) else known[0]
    if address is None:
        try:
            address = choose_address(iomem, 2 * half)
        except SourceError:
            kho = next(v for v in verdicts(machine) if v.carrier == "kho")
            if carrier or root.live or kho.state == "no":
                raise
            why = (
                "nothing says which memory of that machine is free, so no carve-out can be chosen "
                "(--carrier carveout --address ADDRESS does); whether its kernel has KHO is for "
                "'tracekit doctor' to say there"
            )
            return "kho", why, kho_parameters(size or "4M")
    return "carveout", verdict.why, carve_out_parameters(address, half)


def _known_place(root: Sysroot, machine: Machine) -> tuple[int, int] | None:
    """(address, size of a half) of the carve-out this kernel has, or the boot loader is told of."""
    mine = preserved_instance(machine.command, carrier="carveout")
    pieces = list(halves(machine.command))
    if mine is not None and mine.size and pieces:
        begin = min(start for start, _ in pieces)
        return begin, mine.size
    texts = [machine.text(path) for path in (GRUB_FILE, KERNEL_CMDLINE)]
    for place in ("boot/loader/entries", "efi/loader/entries", "boot/efi/loader/entries"):
        with contextlib.suppress(SourceError):
            texts += entry_lines(root, place)
    return next((found for text in texts if (found := installed(text)) is not None), None)
