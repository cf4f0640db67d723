"""The new kernel's marks of pages that came, and the IOMMU's groups, whatever is in memory."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.kho.kernel_writer import KhoKernel, pci_device
from tests.support.machine_trees import new_machine
from tracekit.capture.kho.evidence import Evidence, from_machine
from tracekit.kho.preserved import Leaf
from tracekit.kho.preserved_sum import PreservedMap, sum_map
from tracekit.sysroot import Sysroot

#: Two ranges: 64 pages, and 2 of 512.
HANDED_ON = ((0x400, 64), (0x1000, 1024))
_PAGES = [pfn + n for pfn, count in HANDED_ON for n in range(count)]
_MARKS = st.dictionaries(
    st.sampled_from(_PAGES), st.one_of(st.integers(0, 9), st.integers(0, (1 << 32) - 1)),
    max_size=40,
)  # fmt: skip


def handed_on() -> PreservedMap:
    leaves = [Leaf(0, pfn << 12, b"\xff" * (count // 8)) for pfn, count in HANDED_ON]
    return sum_map(leaves, "radix")


def look(path: Path, kernel: KhoKernel, group: str = "") -> Evidence:
    root = replace(new_machine(), kho=None, files=kernel.files()).write(path)
    if group:
        pci_device(root, "0000:00:02.0", "vfio-pci", group, "identity", master=True)
    with ExitStack() as stack:
        return from_machine(Sysroot(root), stack, handed_on=handed_on())


def expected(marks: dict[int, int]) -> set[int]:
    """The pages of the blocks that are marked, one by one."""
    found: set[int] = set()
    for pfn, count in HANDED_ON:
        at = pfn
        while at < pfn + count:
            order = marks.get(at)
            if order is not None and order < 64 and at + (1 << order) <= pfn + count:
                found |= set(range(at, at + (1 << order)))
                at += 1 << order
            else:
                at += 1
    return found


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(marks=_MARKS)
def test_any_marks(tmp_path: Path, marks: dict[int, int]) -> None:
    """A block that would reach beyond its range is none."""
    kernel = KhoKernel(blocks=[], marked=list(marks.items()))
    found = look(tmp_path / str(len(list(tmp_path.iterdir()))), kernel).maps["in"]
    pages = {at >> 12 for a, b in found.ranges for at in range(a, b, 4096)}
    assert pages == expected(marks) and found.pages == len(pages)
    assert found.form == "marks" and not found.notes


def test_groups_on_a_list_that_does_not_end(tmp_path: Path) -> None:
    kernel = KhoKernel(groups={5: 1})
    kernel.ring_of_groups = False
    found = look(tmp_path, kernel, "5")
    assert "does not end" in found.unseen["domains"]
    assert found.devices[-1].attached == "" and "not known" in found.devices[-1].reach


def test_groups(tmp_path: Path) -> None:
    found = look(tmp_path, KhoKernel(groups={5: 1, 6: 11}), "5")
    assert found.devices[-1].attached == "unmanaged" and "domains" not in found.unseen
