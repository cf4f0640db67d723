"""What can be probed in the running kernel: its functions, member offsets and page size."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

from tracekit.btf import VMLINUX, VOID, Btf, kernel_types
from tracekit.errors import ParseError
from tracekit.frozen import dataclass
from tracekit.sysroot import TRACEFS, Sysroot

__all__ = ["SHUTDOWNS", "Missing", "ProbedKernel", "page_shift", "shutdown_functions", "tracefs"]

#: Bus callbacks that are probed where BTF cannot name them: without BTF, and those in modules.
SHUTDOWNS = (
    "amba_shutdown",
    "auxiliary_bus_shutdown",
    "ccw_device_shutdown",
    "dax_bus_shutdown",
    "fsl_mc_bus_shutdown",
    "i2c_device_shutdown",
    "isa_bus_shutdown",
    "mmc_bus_shutdown",
    "pci_device_shutdown",
    "platform_shutdown",
    "pnp_device_shutdown",
    "rpmsg_dev_shutdown",
    "scsi_bus_shutdown",
    "sd_shutdown",
    "serio_shutdown",
    "spi_shutdown",
    "tee_client_device_shutdown",
    "virtio_dev_shutdown",
    "vmbus_shutdown",
    "xenbus_dev_shutdown",
)

_FUNCTION = re.compile(r"^([0-9a-f]{1,16}) [tTwW] (\S+)", re.MULTILINE)  # of kallsyms
_BLACKLIST = "sys/kernel/debug/kprobes/blacklist"
ABSENT = "not in this kernel, or inlined into its caller"
NOTRACE = "code of the tracers themselves"

# struct, member, macro of bpf/devices.c
_DEVICE_MEMBERS = (
    ("device", "kobj.name", "TK_DEVICE_NAME"),
    ("device", "init_name", "TK_DEVICE_INIT_NAME"),
    ("device", "driver", "TK_DEVICE_DRIVER"),
    ("device", "bus", "TK_DEVICE_BUS"),
    ("device_driver", "name", "TK_DRIVER_NAME"),
    ("bus_type", "name", "TK_BUS_NAME"),
)


@dataclass(frozen=True, slots=True)
class Missing:
    """A probe that is not there: its event, the functions tried, and why."""

    event: str
    functions: tuple[str, ...]
    reason: str

    def as_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {"event": self.event, "functions": list(self.functions), "reason": self.reason}


def tracefs(root: Sysroot) -> str:
    """Where tracefs is mounted below the root."""
    return next((path for path in TRACEFS if root.exists(f"{path}/trace")), TRACEFS[0])


def shutdown_functions(btf: Btf | None) -> Iterator[str]:
    """Names of the functions that shut one device down: ``void f(struct device *)``."""
    named = set(SHUTDOWNS)
    if btf is not None:
        for function in btf.functions("shutdown"):
            types = [btf.points_to(number) for _, number in function.parameters]
            if types == ["device"] and function.returns == VOID:
                named.add(function.name)
    yield from sorted(named)


def _words(text: str, column: int) -> frozenset[str]:
    """One column of a file with one name per line; what follows (``[module]``) is left out."""
    return frozenset(re.findall(rf"(?m)^(?:\S+[ \t]+){{{column}}}(\S+)", text))


@dataclass(frozen=True, slots=True)
class ProbedKernel:
    """The functions a kernel has, those of them that can be probed, and its types.

    ``addresses`` has every function by name; ``traceable`` those the function tracer knows, which
    kprobe events are limited to (unless ``notrace``: CONFIG_KPROBE_EVENTS_ON_NOTRACE).
    """

    addresses: Mapping[str, int]
    traceable: frozenset[str]
    blacklist: frozenset[str] = frozenset()
    btf: Btf | None = None
    btf_reason: str = ""
    notrace: bool = False

    @classmethod
    def parse(
        cls, kallsyms: str, available: str, blacklist: str = "", btf: bytes | None = None
    ) -> ProbedKernel:
        """From the texts of ``kallsyms``, ``available_filter_functions``, ``kprobes/blacklist``.

        An empty ``available`` says that the kernel has no such file; then every function is tried.
        """
        found = _FUNCTION.findall(kallsyms)
        addresses = {name: int(address, 16) for address, name in reversed(found)}  # the first one's
        traceable = _words(available, 0) or frozenset(addresses)
        types, reason = None, "no /sys/kernel/btf/vmlinux: the kernel needs CONFIG_DEBUG_INFO_BTF"
        if btf is not None:
            try:
                types, reason = kernel_types(btf, "/sys/kernel/btf/vmlinux"), ""
            except ParseError as error:
                reason = str(error)
        return cls(addresses, traceable, _words(blacklist, 1), types, reason)

    @classmethod
    def read(cls, root: Sysroot) -> ProbedKernel:
        """From the running kernel or a saved tree."""
        available = f"{tracefs(root)}/available_filter_functions"
        texts = [
            (root.get(rel) or b"").decode("utf-8", "backslashreplace")
            for rel in ("proc/kallsyms", available, _BLACKLIST)
        ]
        return cls.parse(texts[0], texts[1], texts[2], root.get(VMLINUX))

    def refusal(self, function: str) -> str:
        """Why ``function`` cannot be probed; '' where nothing is known against it."""
        if function not in self.addresses:
            return ABSENT
        if function in self.blacklist:
            return "the kernel forbids it (debug/kprobes/blacklist)"
        if function not in self.traceable and not self.notrace:
            return f"{NOTRACE}, needs CONFIG_KPROBE_EVENTS_ON_NOTRACE"
        return ""

    def choose(self, functions: Iterable[str]) -> str | None:
        """The first that can be probed."""
        return next((name for name in functions if not self.refusal(name)), None)

    def missing(self, event: str, functions: tuple[str, ...]) -> Missing:
        """The entry for an event none of whose functions can be probed."""
        reasons = {name: self.refusal(name) for name in functions}
        refusals = [f"{name}: {why}" for name, why in reasons.items() if why != ABSENT]
        return Missing(event, functions, "; ".join(refusals) or ABSENT)

    def macros(self, members: Iterable[tuple[str, str, str]]) -> dict[str, int]:
        """Offsets of (struct, member, macro) by macro; empty where one of them is not known."""
        macros = {}
        for struct, path, macro in members:
            member = self.btf.member(struct, path) if self.btf is not None else None
            if member is None:
                return {}
            macros[macro] = member.offset
        return macros

    def device_macros(self) -> dict[str, int]:
        """``-D`` of ``bpf/devices.c``; empty where one of the struct's members is not known."""
        macros = self.macros(_DEVICE_MEMBERS)
        if self.btf is None or not macros:
            return {}
        device, flag = self.btf.member("pci_dev", "dev"), self.btf.member("pci_dev", "is_busmaster")
        if device is not None and flag is not None and flag.width == 1:
            macros |= {"TK_PCI_DEVICE": device.offset, "TK_PCI_IS_BUSMASTER": flag.bits}
        return macros


def page_shift() -> int:
    """log2 of the page size."""
    return os.sysconf("SC_PAGE_SIZE").bit_length() - 1
