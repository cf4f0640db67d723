"""Where values are found, on kernels that differ."""

from __future__ import annotations

import platform

import pytest

from tests.support import btf_writer as w
from tests.support.traceable_kernels import BTF, kernel
from tracekit.btf import Btf
from tracekit.probes.arguments import ARGUMENTS, Source, resolve
from tracekit.probes.kernel import shutdown_functions
from tracekit.probes.records import KINDS, Kind

REAL = Btf(BTF)


def kind(event: str) -> Kind:
    return next(k for k in KINDS.values() if k.event == event)


def test_every_description_is_of_a_kind_and_as_long_as_its_values() -> None:
    events = {k.event: k for k in KINDS.values()}
    for event, arguments in ARGUMENTS.items():
        assert len(arguments.values) == len(events[event].values), event
        assert (arguments.name is not None) == bool(events[event].name), event


def test_segments_are_entries_of_an_array() -> None:
    values, name = resolve(kind("kexec:load_segment"), "kimage_load_segment", REAL)
    assert values == [
        Source(2),
        Source(1, 8, 64 + 16, 2, 32),
        Source(1, 8, 64 + 24, 2, 32),
        Source(1, 8, 64 + 8, 2, 32),
    ]
    assert name is None


def test_a_session_is_found_from_a_member_of_it() -> None:
    values, name = resolve(kind("luo:preserve_file"), "luo_preserve_file", REAL)
    assert values == [Source(2), Source(3)]
    assert name == Source(1, 1, -88)


def test_a_dentry_points_to_its_name() -> None:
    _, name = resolve(kind("ring_buffer:instance_rmdir"), "tracefs_syscall_rmdir", REAL)
    assert name == Source(2, 8, 40)


@pytest.mark.parametrize(
    ("machine", "offset"), [("x86_64", 96), ("aarch64", 16), ("riscv64", None)]
)
def test_system_calls(monkeypatch: pytest.MonkeyPatch, machine: str, offset: int | None) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    values, _ = resolve(kind("kexec:reboot"), "__any_sys_reboot", REAL)
    assert values == [None if offset is None else Source(1, 8, offset)]
    assert resolve(kind("kexec:reboot"), "__do_sys_reboot", REAL)[0] == [Source(3)]


def test_arguments_move_where_another_comes_first() -> None:
    out = w.Writer()
    pointer = out.add(w.PTR, "", 0)
    out.function("kho_add_subtree", 0, ("ser", pointer), ("name", pointer), ("fdt", pointer))
    values, name = resolve(kind("kho:add_subtree"), "kho_add_subtree", Btf(out.bytes()))
    assert (values[0], name) == (Source(3), Source(2))
    values, name = resolve(kind("kho:add_subtree"), "kho_add_subtree", REAL)
    assert (values, name) == ([Source(2), Source(3)], Source(1))


def test_without_btf_members_are_unknown() -> None:
    values, _ = resolve(kind("kexec:load_segment"), "kimage_load_segment", None)
    assert values == [Source(2), None, None, None]
    assert resolve(kind("luo:freeze_files"), "luo_file_freeze", None)[1] is None


def test_shutdown_callbacks_are_found_by_their_type() -> None:
    found = set(shutdown_functions(REAL))
    assert {"pci_device_shutdown", "serio_shutdown"} <= found
    assert "device_shutdown" not in found  # takes no device
    assert "dev_shutdown" not in found  # takes a net_device
    out = w.Writer()
    device = out.add(w.PTR, "", out.members(w.STRUCT, "device", 8, ("x", 0, 0, 0)))
    out.function("odd_shutdown_cb", 0, ("d", device))
    out.function("int_shutdown", device, ("d", device))
    found = set(shutdown_functions(Btf(out.bytes())))
    assert "odd_shutdown_cb" in found and "int_shutdown" not in found
    assert "virtio_dev_shutdown" in found  # may be in a module, whose BTF is not read


def test_device_macros() -> None:
    assert kernel().device_macros() == {
        "TK_DEVICE_NAME": 0,
        "TK_DEVICE_INIT_NAME": 80,
        "TK_DEVICE_DRIVER": 104,
        "TK_DEVICE_BUS": 96,
        "TK_DRIVER_NAME": 0,
        "TK_BUS_NAME": 0,
        "TK_PCI_DEVICE": 184,
        "TK_PCI_IS_BUSMASTER": 1424 * 8 + 5,
    }
    assert kernel(btf=None).device_macros() == {}
