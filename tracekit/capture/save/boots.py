"""Which boots a session holds, and which of them wrote a region."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tracekit.capture.save.kernel import symbol_address
from tracekit.carriers.ring_header import header_address
from tracekit.frozen import dataclass
from tracekit.parameters import CommandLine, parse_cmdline
from tracekit.session import SessionWriter
from tracekit.session.identity import identity

__all__ = [
    "NOBODY",
    "BootFacts",
    "Owner",
    "boot_of",
    "find_owner",
    "known_boots",
]

NOBODY = -1  # the index of an owner that is not in the session


def known_boots(writer: SessionWriter) -> dict[int, Mapping[str, Any]]:
    """``kernel.json`` of every boot in the session, by index."""
    kernels: dict[int, Mapping[str, Any]] = {}
    for index in writer.manifest.boots:
        data = writer.read(f"boots/{index}/kernel.json")
        try:
            document = json.loads(data or b"{}")
        except (ValueError, RecursionError):
            document = {}
        kernels[index] = document if isinstance(document, dict) else {}
    return kernels


def boot_of(kernel: Mapping[str, Any], boots: Mapping[int, Mapping[str, Any]]) -> int | None:
    """The index of the boot that ``kernel`` describes; None when it is not in the session."""
    wanted = identity(kernel)
    return next((i for i, known in boots.items() if wanted and identity(known) == wanted), None)


@dataclass(frozen=True, slots=True)
class BootFacts:
    """The facts that ownership is decided by. ``index`` is the boot's place in the chain."""

    index: int
    command: CommandLine
    text_address: int | None
    kallsyms: Callable[[], bytes | None]

    @classmethod
    def of(
        cls, index: int, kernel: Mapping[str, Any], kallsyms: Callable[[], bytes | None]
    ) -> BootFacts:
        """The facts of a boot; an unknown one has none. ``kallsyms`` is called where needed."""
        text = kernel.get("text_address")
        command = parse_cmdline(str(kernel.get("cmdline") or ""))
        return cls(index, command, text if isinstance(text, int) else None, kallsyms)

    def records_elsewhere(self, name: str, address: int | None) -> bool:
        """Whether its command line puts instances on memory, and none of them on this region."""
        on_memory = [i for i in self.command.instances if i.region or i.address is not None]
        return bool(on_memory) and self.command.instance_of(name, address) is None

    def address(self, symbol: str) -> int | None:
        """The address of a symbol in this boot, None when it is not known."""
        if symbol == "_text" and self.text_address is not None:
            return self.text_address
        return symbol_address(self.kallsyms() or b"", symbol)


@dataclass(frozen=True, slots=True)
class Owner:
    """The boot that wrote a region, and how that is known."""

    boot: int
    evidence: str


def find_owner(
    name: str, address: int | None, header: bytes, boots: list[BootFacts], fallback: Owner
) -> Owner:
    """Decide which boot wrote a region.

    First the address in its header, then the command lines, then ``fallback``; a boot whose own
    symbols contradict the header did not write it. When that leaves no boot, the owner is
    :data:`NOBODY`: a boot of which there is no snapshot.
    """
    written = header_address(header)
    equal: list[int] = []
    excluded: set[int] = set()
    if written is not None:
        addresses = {boot.index: boot.address(written[0]) for boot in boots}
        equal = [index for index, known in addresses.items() if known == written[1]]
        excluded = {i for i, known in addresses.items() if known is not None} - set(equal)
        evidence = f"the address of {written[0]} in its header, {written[1]:#x}, is"
        if len(equal) == 1:
            return Owner(equal[0], f"{evidence} this boot's")
    named = [
        boot.index
        for boot in boots
        if boot.index not in excluded and boot.command.instance_of(name, address) is not None
    ]
    if len(named) == 1:
        return Owner(named[0], "only this boot's command line gives it to a trace instance")
    if written is not None and not equal:
        excluded |= {boot.index for boot in boots if boot.records_elsewhere(name, address)}
        boot_unknown = NOBODY if fallback.boot in excluded else fallback.boot
        return Owner(boot_unknown, f"{evidence} that of no boot a snapshot was taken of")
    return fallback
