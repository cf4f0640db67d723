"""An image that is set up from outside: nothing tells of its memory, nor whether it has KHO."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.capture.cmdline.setup import Options, make_plan
from tracekit.errors import SourceError


def options(root: Path, **more: object) -> Options:
    (root / "etc/default").mkdir(parents=True)
    (root / "etc/default/grub").write_text('GRUB_CMDLINE_LINUX=""\n')
    (root / "boot").mkdir()
    return Options(root=root, kernel="/boot/vmlinuz-9", program="/bin/true", **more)  # type: ignore[arg-type]


def test_kho_where_no_carve_out_can_be_chosen(tmp_path: Path) -> None:
    plan = make_plan(options(tmp_path))
    assert plan.carrier == "kho"
    assert "--carrier carveout --address" in plan.why
    assert "kho=on" in plan.loader.parameters


def test_a_kernel_that_has_none(tmp_path: Path) -> None:
    wanted = options(tmp_path)
    (tmp_path / "boot/config-9").write_text(
        "# CONFIG_KEXEC_HANDOVER is not set\nCONFIG_TRACING=y\n"
    )
    with pytest.raises(SourceError, match="--address"):
        make_plan(wanted)


def test_an_address_that_is_given(tmp_path: Path) -> None:
    plan = make_plan(options(tmp_path, carrier="carveout", address=0x70000000))
    assert plan.carrier == "carveout"
    assert "0x70000000" in plan.loader.parameters
