"""Modules and their symbols."""

from __future__ import annotations

from tracekit.kmemory.modules import bpf_symbols, module_symbols, modules, modules_text


def test_the_table_of_modules(debian) -> None:
    """But for the users of two, whose list is in memory that the cut dump does not have."""
    said = debian.text("modules").splitlines()
    lines = modules_text(modules(debian.kernel)).splitlines()
    assert len(lines) == len(said) == 14
    different = [a.split()[0] for a, b in zip(lines, said, strict=True) if a != b]
    assert different == ["9pnet", "netfs"]
    assert debian.kernel.notes.count("modules' users") > 0


def test_the_symbols_of_modules(debian) -> None:
    found = list(module_symbols(debian.kernel, modules(debian.kernel)))
    assert len(found) == 9734
    names = {(module, symbol.name) for module, symbol in found}
    assert ("9p", "v9fs_mount") in names or ("9p", "v9fs_init_fs_context") in names
    assert ("mbcache", "mb_cache_create") in names
    assert list(bpf_symbols(debian.kernel)) == []


def test_a_kernel_without_modules(lab) -> None:
    assert modules(lab.kernel) == []
