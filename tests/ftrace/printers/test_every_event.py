"""Random records of every event of real kernels, as these kernels print them (see data/)."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.support.text_records import printed
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import parse_format
from tracekit.ftrace.printers.render import Renderer, make_renderer

DATA = Path(__file__).parent / "data"
#: Kernel -> (events; those of which a record does not tell all, and without BTF; those that
#: programs print)
KERNELS = {
    "5.10": (3557, 25, 38, 3391), "6.1": (4006, 16, 16, 3795), "6.12": (4507, 14, 14, 4241),
    "7.2": (616, 3, 3, 604), "7.3": (5059, 17, 17, 4764),
}  # fmt: skip
_HASH = re.compile(r"\b[0-9a-f]{16}\b")  # of %p
#: Where the kernel prints what is not in the record, without a word.
BEYOND = {
    # a text that goes on behind its array
    "nfsd_cb_setup", "nfsd_dirent", "rdev_external_auth", "svc_defer_drop", "svc_defer_queue",
    "svc_defer_recv", "svcrdma_qp_error",
    "btrfs_finish_ordered_extent",  # !! of a bool that is 5
    "xreap_agextent_select", "xreap_bmapi_select",  # ? 1 : 0 of such a one
    "kvm_pic_set_irq",  # 1 << 100
    "amdgpu_dm_atomic_update_cursor",  # single bytes that are UTF-8 together
}  # fmt: skip


@cache
def _saved(kernel: str) -> dict[str, Any]:
    raw = (DATA / f"events-{kernel}.json.zst").read_bytes()
    found: dict[str, Any] = json.loads(zstandard.ZstdDecompressor().decompress(raw))
    return found


def _events(kernel: str, *, btf: bool = True) -> list[tuple[Renderer, list[bytes], list[str]]]:
    """For each event its printer, its records and the kernel's texts."""
    saved = _saved(kernel)
    ctx = Context(
        release=saved["release"], options=frozenset(saved["options"]), jiffies_hz=250,
        constants=saved["constants"] if btf else {},
    )  # fmt: skip
    found = []
    for name, event in saved["events"].items():
        fmt = parse_format(event["format"], name.partition("/")[0], name)
        records = [bytes.fromhex(payload) for payload, _ in event["records"]]
        found.append((make_renderer(fmt, ctx), records, [text for _, text in event["records"]]))
    return found


@pytest.mark.parametrize("btf", [True, False])
@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_not_marked_is_what_the_kernel_printed(kernel: str, btf: bool) -> None:
    events, with_btf, without, _ = KERNELS[kernel]
    most = with_btf if btf else without
    found = _events(kernel, btf=btf)
    marked = set()
    for renderer, records, texts in found:
        name = renderer.prefix.removesuffix(": ")
        for record, theirs in zip(records, texts, strict=True):
            ours = f"{renderer.prefix}{renderer.render(record)}{renderer.suffix}\n"
            if "(?" in ours:
                marked.add(name)
            elif "(truncated)" not in ours and name not in BEYOND:
                assert _HASH.sub("P", ours) == _HASH.sub("P", theirs)
    assert len(found) == events
    assert len(marked) <= most, marked


@pytest.mark.parametrize("kernel", KERNELS)
def test_programs_print_the_same(kernel: str) -> None:
    done = [printed(renderer, records) for renderer, records, _ in _events(kernel)]
    assert sum(map(bool, done)) >= KERNELS[kernel][3]
