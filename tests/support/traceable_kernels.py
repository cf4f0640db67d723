"""Kernels to be probed, as the texts they describe themselves with."""

from __future__ import annotations

import struct
from pathlib import Path

from tracekit.probes.kernel import ProbedKernel

__all__ = ["BTF", "TRACEABLE", "kernel"]

BTF = (Path(__file__).parent / "data" / "btf-7.2.13.bin").read_bytes()

TRACEABLE = (
    "__x64_sys_kexec_file_load", "kimage_load_segment", "__x64_sys_reboot", "kernel_kexec",
    "device_shutdown", "notifier_call_chain", "blocking_notifier_call_chain", "machine_shutdown",
    "machine_kexec", "kmsg_dump_desc", "pci_device_shutdown", "serio_shutdown",
    "kho_radix_add_page", "kho_add_subtree", "luo_preserve_file", "tracefs_syscall_mkdir",
    "vfs_write", "vfs_open", "__fput",
)  # fmt: skip
NOTRACE = ("ring_buffer_resize", "rb_move_tail", "native_stop_other_cpus", "notifier_call_chain")


def kernel(
    traceable: tuple[str, ...] = TRACEABLE,
    notrace: tuple[str, ...] = NOTRACE,
    blacklist: tuple[str, ...] = (),
    btf: bytes | None = BTF,
) -> ProbedKernel:
    """A kernel that has these functions, the first at ffffffff81000100."""
    names = [*traceable, *notrace]
    kallsyms = "".join(
        f"{0xFFFFFFFF81000100 + 16 * i:016x} {'tT'[i % 2]} {name}\n" for i, name in enumerate(names)
    )
    kallsyms += "ffffffff82000000 D kernel_restart_prepare\n"  # data of a function's name
    available = "".join(f"{name}\n" for name in traceable) + "nvme_shutdown [nvme]\n"
    forbidden = "".join(f"0xffffffff81000000-0xffffffff81000010\t{name}\n" for name in blacklist)
    return ProbedKernel.parse(kallsyms, available, forbidden, btf)


#: struct tk_function of tracekit/probes/bpf/common.h: kind, flags, 5 x struct tk_source.
FUNCTION = struct.Struct("<HH" + "BBBBiI" * 5)
RETURNS_INT, PERSIST, PERSIST_DOWN, DOWN, ONLY_DOWN = 1, 2, 4, 8, 16  # its flags
