"""Modules and their symbols."""

from __future__ import annotations

from tests.support.memory.dead_kernels import with_memory, words
from tracekit.kmemory.lists import walk
from tracekit.kmemory.memory import PAGE
from tracekit.kmemory.modules import (
    bpf_symbols,
    module_symbols,
    module_types,
    modules,
    modules_text,
)


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


def test_the_types_of_a_module_that_has_events(debian) -> None:
    """The page with its description was cut out of the dump: it is filled anew."""
    memory, types = debian.memory.copy(), b"\x9f\xeb" + bytes(30)
    kernel = with_memory(debian.kernel, memory)
    head = kernel.symbol("btf_modules")
    nodes = {node: kernel.memory.physical(node & -PAGE) for node in walk(kernel, head).nodes}
    described, physical = next((n, p) for n, p in nodes.items() if p not in memory.pages)
    page = described & -PAGE
    memory.poke(kernel.memory.physical(head), words(described, described))
    loaded = {m.name: m.module.address for m in modules(kernel)}

    def put(struct_: str, address: int, **values: int) -> None:
        for name, value in values.items():
            place = kernel.place(struct_, name)
            data = value.to_bytes(place.size or 8, "little")
            memory.poke(physical + address + place.offset - page, data)

    inside = (described - page + 2048) % PAGE  # beside it, in the same page
    put("btf", page + inside, data=page + inside + 512, data_size=len(types))
    memory.poke(physical + inside + 512, types)
    memory.poke(physical + described - page, words(head, head))
    for name, found in (("ext4", [("ext4", types)]), ("loop", [])):
        put("btf_module", described, module=loaded[name], btf=page + inside)
        assert list(module_types(with_memory(kernel, memory))) == found
    put("btf", page + inside, data_size=1 << 31)
    put("btf_module", described, module=loaded["ext4"])
    fresh = with_memory(kernel, memory)
    assert list(module_types(fresh)) == []
    assert "2147483648 bytes of types" in fresh.notes.diagnostics()[-1].message


def test_what_the_dump_lacks_of_them(debian) -> None:
    assert list(module_types(with_memory(debian.kernel, debian.memory))) == []
