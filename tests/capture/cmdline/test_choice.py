"""Which carrier setup takes, and where it puts a carve-out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.capture.cmdline.bootloader import GRUB_FILE, KERNEL_CMDLINE
from tracekit.capture.cmdline.choice import parameters_for
from tracekit.errors import SourceError, UsageError
from tracekit.sysroot import Sysroot

IOMEM = "00100000-7ffdefff : System RAM\n"
CARVED = "memmap=16M$0x5e000000 trace_instance=tk^traceoff@0x5e000000:8M"
X86 = {"proc/cpuinfo": "flags\t\t: fpu\n", "proc/iomem": IOMEM}
STOCK = X86 | {
    "proc/version": "Linux version 6.12.118+deb13-amd64 (x) #1\n",
    "boot/config-6.12.118+deb13-amd64": "CONFIG_TRACING=y\n# CONFIG_KEXEC_HANDOVER is not set\n",
}
KHO = X86 | {
    "proc/version": "Linux version 7.2.13 (x) #1\n",
    "lib/modules/7.2.13/config": "CONFIG_TRACING=y\nCONFIG_KEXEC_HANDOVER=y\n",
}
ARM = {"proc/cpuinfo": "CPU implementer\t: 0x41\n"}


def chosen(tmp_path: Path, files: dict[str, str], **asked: object) -> tuple[str, str]:
    for rel, text in files.items():
        path = tmp_path / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    options: dict[str, object] = {
        "carrier": None, "size": None, "address": None, "kernel": None, **asked
    }  # fmt: skip
    carrier, _, parameters = parameters_for(Sysroot(tmp_path), **options)  # type: ignore[arg-type]
    return carrier, parameters


def test_a_stock_kernel_gets_a_carve_out(tmp_path: Path) -> None:
    carrier, parameters = chosen(tmp_path, STOCK)
    assert carrier == "carveout"
    assert parameters == "memmap=16M$0x6fe00000 trace_instance=tk^traceoff@0x6fe00000:8M"
    assert "kho" not in parameters and "reserve_mem" not in parameters


@pytest.mark.parametrize("place", ["proc/config.gz", "boot", "kallsyms"])
def test_a_kernel_with_kho_gets_regions(tmp_path: Path, place: str) -> None:
    files = dict(KHO)
    if place == "kallsyms":
        del files["lib/modules/7.2.13/config"]
        files["proc/cmdline"] = "kho=off\n"
        files["proc/kallsyms"] = "0 T ring_buffer_write\n0 T kho_is_enabled\n" \
            "0 T __ring_buffer_alloc_range\n"  # fmt: skip
    assert chosen(tmp_path, files)[0] == "kho"
    assert chosen(tmp_path, files, carrier="carveout")[0] == "carveout"


def test_kho_that_the_kernel_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no kexec handover"):
        chosen(tmp_path, STOCK, carrier="kho")


def test_what_the_log_and_kallsyms_tell_without_a_configuration(tmp_path: Path) -> None:
    files = {rel: text for rel, text in STOCK.items() if "config" not in rel}
    log = '[ 0.0] Unknown kernel command line parameters "kho=on", will be passed to user space.\n'
    assert chosen(tmp_path / "log", files | {"dmesg": log, "proc/cmdline": "kho=on\n"})[0] == \
        "carveout"  # fmt: skip
    symbols = "0 T ring_buffer_write\n0 T __ring_buffer_alloc_range\n"
    with pytest.raises(UsageError, match="has no kexec handover"):
        chosen(tmp_path / "symbols", files | {"proc/kallsyms": symbols}, carrier="kho")
    old = {"proc/kallsyms": "0 T ring_buffer_write\n"}
    with pytest.raises(UsageError, match=r"no way that memory survives.*6\.12 and later"):
        chosen(tmp_path / "old", STOCK | old)


@pytest.mark.parametrize(
    ("rel", "text"),
    [
        ("proc/cmdline", CARVED),
        ("proc/cmdline", CARVED.replace("@0x5e000000", "@0x5e800000")),  # the second kernel
        ("proc/cmdline", f"memmap=8M$0x5e800000 {CARVED.replace('16M', '8M')}"),
        (GRUB_FILE, 'GRUB_CMDLINE_LINUX="{}"'.format(CARVED.replace("$", r"\\\$"))),
        (KERNEL_CMDLINE, f"root=x {CARVED}"),
        ("boot/loader/entries/a.conf", f"linux /x\noptions root=x {CARVED}\n"),
    ],
)  # fmt: skip
def test_the_address_stays_once_it_is_chosen(tmp_path: Path, rel: str, text: str) -> None:
    assert chosen(tmp_path, STOCK | {rel: f"{text}\n"}) == ("carveout", CARVED)
    bigger = chosen(tmp_path, {}, size="16M")[1]
    assert bigger == "memmap=32M$0x6fe00000 trace_instance=tk^traceoff@0x6fe00000:16M"


def test_an_address_in_the_crash_kernel_is_left(tmp_path: Path) -> None:
    iomem = f"{IOMEM}  5d000000-6cffffff : Crash kernel\n"
    files = STOCK | {"proc/cmdline": f"{CARVED}\n", "proc/iomem": iomem}
    assert "$0x5c000000 " in chosen(tmp_path, files)[1]
    with pytest.raises(UsageError, match=r"--address 0x60000000: .* Crash kernel"):
        chosen(tmp_path, {}, address=0x60000000)
    assert "$0x50000000 " in chosen(tmp_path, {}, address=0x50000000)[1]


def test_without_root_it_says_so(tmp_path: Path) -> None:
    zeros = {"proc/iomem": "00000000-00000000 : System RAM\n"}
    with pytest.raises(SourceError, match="zeros: be root"):
        chosen(tmp_path, STOCK | zeros)
    assert "$0x70000000 " in chosen(tmp_path, {}, address=0x70000000)[1]


def test_an_image_of_which_nothing_is_known(tmp_path: Path) -> None:
    assert chosen(tmp_path, {"etc/x": ""})[0] == "kho"
    assert chosen(tmp_path, {}, carrier="kho")[0] == "kho"
    config = {
        "boot/config-7.2": "CONFIG_KEXEC_HANDOVER=y\nCONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=n\n"
    }
    assert chosen(tmp_path, config, kernel="/boot/vmlinuz-7.2")[0] == "kho"


def test_arm64_has_no_memmap(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"aarch64 has no memmap= parameter"):
        chosen(tmp_path, ARM, carrier="carveout")
    assert chosen(tmp_path, ARM)[0] == "kho"


def test_kho_takes_no_address(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--address is for --carrier carveout"):
        chosen(tmp_path, KHO, carrier="kho", address=4096)
