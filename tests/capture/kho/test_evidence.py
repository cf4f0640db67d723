"""KHO on a machine: what its memory and files tell, and what is said where they do not."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.kho.kernel_writer import KhoKernel, pci_device
from tests.support.kho.luo_writer import memfd
from tests.support.machine_trees import Machine, old_machine
from tracekit.capture.kho.evidence import from_machine
from tracekit.capture.kho.inspect import as_json, sections
from tracekit.kho.item import Item
from tracekit.sysroot import Sysroot

ON = "kho=on liveupdate=on"


def tree(path: Path, kernel: KhoKernel, **changes: Any) -> Path:
    machine: Machine = replace(old_machine(), cmdline=ON, files=kernel.files(), **changes)
    return machine.write(path)


def told(root: Path) -> tuple[dict[str, Any], dict[str, Item]]:
    with ExitStack() as stack:
        evidence = from_machine(Sysroot(root), stack)
        document = json.loads(json.dumps(as_json(evidence)))
        return document, {item.label: item for item in sections(evidence)}


def every(item: Item) -> list[tuple[str, str]]:
    below = [pair for child in item.children for pair in every(child)]
    return [(item.label, item.value), *below]


def test_a_kernel_in_use(tmp_path: Path) -> None:
    kernel = KhoKernel(regions={"tkA": (0x7D600000, 4 << 20)}, got=frozenset({7}))
    kernel.outgoing = {"vm": [("memfd-v2", memfd(kernel.memory, b"x" * 9000, seals=14), 1)]}
    kernel.incoming = {"old": [("memfd-v2", 0x5000, 7), ("memfd-v2", 0x6000, 8)], "lost": []}
    kernel.retrieved = frozenset({"old"})
    root = tree(tmp_path, kernel)
    pci_device(root, "0000:00:01.0", "virtio-pci", "3", "DMA-FQ", master=True)
    pci_device(root, "0000:00:02.0", master=False)
    found, shown = told(root)
    assert found["state"]["kho"] == found["state"]["luo"] == "on"
    assert found["state"]["version"] == "kho-v4"
    assert found["map"]["out"]["blocks"] == {"0": 1, "9": 1, "10": 1}
    assert found["map"]["out"]["pages"] == 1 + 512 + 1024
    assert found["cost"]["total"] == 0x9800000 + 0x1C800000
    assert [a["kind"] for a in found["cost"]["areas"]] == ["low", "global", "node 0"]
    assert found["cost"]["in_use"] == found["cost"]["total"] - (556412 << 10)
    assert found["regions"]["out"] == [{"name": "tkA", "address": 0x7D600000, "size": 4 << 20}]
    luo = found["luo"]
    assert [(s["name"], s["retrieved"]) for s in luo["incoming"]] == [
        ("old", True),
        ("lost", False),
    ]
    assert [f["retrieved"] for f in luo["incoming"][0]["files"]] == [1, 0]
    assert (luo["opened"], luo["handlers"]) == (True, ["memfd-v2"])
    live = every(shown["Live state"])
    assert ("token 0x1", "memfd-v2, 8.789 KiB") in live
    assert ("state", "retrieved, but 1 of its 2 files not; not finished") in live
    assert ("state", "came, not retrieved by anybody") in live
    assert ("IOMMU domains", "DMA-FQ") in live
    devices = {d["address"]: d for d in found["devices"]}
    assert devices["0000:00:01.0"]["driver"] == "virtio-pci"
    assert devices["0000:00:01.0"]["bus_master"] and not devices["0000:00:02.0"]["bus_master"]
    assert devices["0000:00:01.0"]["reset"] == ["flr", "bus"]
    assert found["unseen"] == {}
    assert any("s" in line for line in found["picture"])


def test_sessions_that_nobody_has_asked_for_yet(tmp_path: Path) -> None:
    kernel = KhoKernel(pending={"vm": [("memfd-v2", 0x5000, 1)], "b": []})
    found, shown = told(tree(tmp_path, kernel))
    assert found["luo"]["opened"] is False
    assert [s["name"] for s in found["luo"]["incoming"]] == ["vm", "b"]
    assert ("state", "came, and nobody has opened /dev/liveupdate yet") in every(
        shown["Live state"]
    )


@pytest.mark.parametrize(
    ("missing", "what"),
    [("proc/kcore", "luo"), ("sys/kernel/btf/vmlinux", "luo"), ("proc/kallsyms", "luo")],
)
def test_what_cannot_be_seen_is_said(tmp_path: Path, missing: str, what: str) -> None:
    root = tree(tmp_path, KhoKernel(outgoing={"vm": []}))
    (root / missing).unlink()
    found, shown = told(root)
    assert missing.rpartition("/")[2] in found["unseen"][what]
    assert found["luo"] is None and found["cost"] is not None
    assert shown["Live state"].value == "sessions not seen"
    if missing == "sys/kernel/btf/vmlinux":
        assert found["map"]["out"]["pages"] == 1537


def test_debugfs_alone_shows_a_tree_that_is_cut_off(tmp_path: Path) -> None:
    root = tree(tmp_path, KhoKernel())
    (root / "proc/kcore").unlink()
    _, shown = told(root)
    (side,) = shown["Blobs"].children
    assert side.amiss and "before anything was added" in side.note
    assert {child.label for child in side.children} == {"LUO", "memblock"}


@pytest.mark.parametrize("offset", range(0, 4096, 509))
def test_lists_that_are_damaged(tmp_path: Path, offset: int) -> None:
    """Every structure of LUO's points somewhere else: said, and nothing is raised."""
    kernel = KhoKernel(outgoing={"vm": [("memfd-v2", 0x5000, 1)]})
    files = kernel.files()
    core = bytearray(files["proc/kcore"])
    for at in range(offset, len(core) - 8, 4096):
        if at > 64 + 56 * len(kernel.memory.pages):
            core[at : at + 8] = b"\xff" * 8
    root = replace(old_machine(), cmdline=ON, files={**files, "proc/kcore": bytes(core)}).write(
        tmp_path
    )
    told(root)


@pytest.mark.parametrize(
    ("cmdline", "config", "log", "state", "why"),
    [
        ("kho=off", "", "", "off", "kho=off is on the command line"),
        ("", "# none\nCONFIG_X=y\n", "", "off", "built without CONFIG_KEXEC_HANDOVER"),
        ("", "CONFIG_KEXEC_HANDOVER=y\n", "", "off", "off by default"),
        ("kho=on", "CONFIG_KEXEC_HANDOVER=y\n",
         "[    0.0] KHO: Failed to reserve scratch area, disabling kexec handover\n", "off",
         "gave it up"),
        ("kho=on", "CONFIG_KEXEC_HANDOVER=y\n", "", "unknown", "does not show it in debugfs"),
        ("", "", "", "unknown", "neither debugfs nor the configuration"),
    ],
)  # fmt: skip
def test_off_and_why(
    tmp_path: Path, cmdline: str, config: str, log: str, state: str, why: str
) -> None:
    machine = replace(old_machine(), cmdline=cmdline)
    files = {"dmesg": log.encode(), "boot/config-7.2.13": config.encode()}
    found, shown = told(replace(machine, files=files).write(tmp_path))
    assert found["state"]["kho"] == state and why in found["state"]["why"]
    assert found["cost"] is None and shown["Cost"].value == "not at hand"


def test_who_holds_a_session(tmp_path: Path) -> None:
    root = tree(tmp_path, KhoKernel(outgoing={"vm": []}))
    for pid, link in ((7, "anon_inode:[luo_session] vm"), (12, "/dev/liveupdate"), (13, "/x")):
        (root / f"proc/{pid}/fd").mkdir(parents=True)
        (root / f"proc/{pid}/fd/5").symlink_to(link)
        (root / f"proc/{pid}/comm").write_text(f"task{pid}\n")
    with ExitStack() as stack:
        evidence = from_machine(Sysroot(root), stack, holders=True)
        assert [(h.pid, h.comm, h.name) for h in evidence.holders] == [
            (7, "task7", "vm"), (12, "task12", ""),
        ]  # fmt: skip
        live = every(sections(evidence)[-1])
    assert ("held open by", "task7 (7)") in live
    assert ("/dev/liveupdate", "open in task12 (12)") in live
