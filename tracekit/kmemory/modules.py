"""Loaded modules, and the symbols that they and BPF programs add to the kernel's."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.kallsyms import Symbol
from tracekit.kmemory.kernel import Kernel, NoMember, Struct
from tracekit.kmemory.lists import entries

__all__ = [
    "Module",
    "bpf_symbols",
    "module_symbols",
    "module_types",
    "modules",
    "modules_text",
]

_MAX_MODULES = 4096
_MAX_SYMBOLS = 1 << 18
_MAX_TYPES = 32 << 20  # bytes of all modules' BTF
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym: st_name, info, other, shndx, value, size
_LIVE, _COMING, _GOING, _UNFORMED = 0, 1, 2, 3  # enum module_state
_STATES = {_LIVE: "Live", _COMING: "Loading", _GOING: "Unloading"}
_ADDRESS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Module:
    """A line of ``/proc/modules``, and the module itself."""

    name: str
    size: int
    refs: int
    users: tuple[str, ...]
    state: str
    base: int
    module: Struct

    @property
    def line(self) -> str:
        """As ``m_show()`` (kernel/module/procfs.c) prints it."""
        users = "".join(f"{name}," for name in self.users) or "-"
        return f"{self.name} {self.size} {self.refs} {users} {self.state} {self.base:#018x}\n"


def _users(kernel: Kernel, module: Struct) -> Iterator[str]:
    if not module.has("source_list") or not kernel.place("module_use", "source_list"):
        return
    head = module.at("source_list")
    uses = entries(kernel, head, "module_use", "source_list", "modules' users", limit=_MAX_MODULES)
    for use in uses:
        try:
            if (source := use.follow("source")) is not None:
                yield source.text("name")
        except SourceError as error:
            kernel.notes.missing("modules' users", f"{use.address:#x}", error)
    if module.get("init") and not module.get("exit"):
        yield "[permanent]"


def _sizes(module: Struct) -> tuple[int, int]:
    """(bytes that it takes, where its text begins)."""
    if module.has("mem"):  # since 6.4: one for each type of memory, text first
        parts = list(module.entries("mem"))
        return sum(part["size"] for part in parts), parts[0]["base"] if parts else 0
    size = module["core_layout.size"] + (module.get("init_layout.size") or 0)
    return size, module["core_layout.base"]


def _module(kernel: Kernel, module: Struct) -> Module | None:
    state = module["state"]
    if state == _UNFORMED:
        return None
    size, base = _sizes(module)
    refs = module.get("refcnt")
    # MODULE_REF_BASE is 1; without CONFIG_MODULE_UNLOAD there is no count
    return Module(
        module.text("name"), size, max(0, refs - 1) if refs else 0,
        tuple(_users(kernel, module)), _STATES.get(state, "unknown"), base, module,
    )  # fmt: skip


def modules(kernel: Kernel) -> list[Module]:
    """All modules, the youngest first; those that cannot be read are noted."""
    head = kernel.symbols.find("modules")
    if head is None or not kernel.place("module", "list"):
        return []  # CONFIG_MODULES=n
    found = []
    for struct_ in entries(kernel, head, "module", "list", "modules", limit=_MAX_MODULES):
        try:
            module = _module(kernel, struct_)
        except NoMember:
            raise
        except SourceError as error:
            kernel.notes.missing("modules", f"{struct_.address:#x}", error)
            continue
        if module is not None:
            found.append(module)
    return found


def modules_text(loaded: list[Module]) -> str:
    """The text of ``/proc/modules``."""
    return "".join(module.line for module in loaded)


def _exported(kernel: Kernel, module: Struct) -> set[tuple[str, int]]:
    """(name, address) of what a module exports: arrays of ``struct kernel_symbol``."""
    memory = kernel.memory
    found = set()
    for table, count in (("syms", "num_syms"), ("gpl_syms", "num_gpl_syms")):
        if not module.has(table):
            continue
        relative = kernel.place("kernel_symbol", "value_offset")  # HAVE_ARCH_PREL32_RELOCATIONS
        value, name = ("value_offset", "name_offset") if relative else ("value", "name")
        size, start = kernel.size_of("kernel_symbol"), module[table]
        for index in range(min(module[count], _MAX_SYMBOLS)):
            symbol = kernel.struct("kernel_symbol", start + index * size)
            address, text = symbol[value], symbol[name]
            if relative:
                address, text = symbol.at(value) + address, symbol.at(name) + text
            found.add((memory.text(text, 512), address & _ADDRESS))
    return found


def _symbols_of(kernel: Kernel, module: Module) -> Iterator[Symbol]:
    """``struct mod_kallsyms`` of a module: an ELF symbol table and a type for each entry."""
    table = module.module.follow("kallsyms")
    if table is None:
        return
    count = table["num_symtab"]
    if not 0 <= count <= _MAX_SYMBOLS:
        raise ParseError(f"module {module.name}: {count} symbols")
    memory = kernel.memory
    entries_ = memory.read(table["symtab"], _SYMBOL.size * count)
    types = memory.read(table["typetab"], count)
    names = table["strtab"]
    exported: set[tuple[str, int]] = set()
    try:
        exported = _exported(kernel, module.module)
    except SourceError as error:
        kernel.notes.missing("modules' exported symbols", module.name, error)
    for number, (name, _, _, section, value, _) in enumerate(_SYMBOL.iter_unpack(entries_)):
        if number == 0 or not section:  # the first is empty; undefined ones are others'
            continue
        text = memory.text(names + name, 512)
        if text:
            kind = chr(types[number])
            yield Symbol(value, kind.upper() if (text, value) in exported else kind, text)


def module_symbols(kernel: Kernel, loaded: list[Module]) -> Iterator[tuple[str, Symbol]]:
    """(module, symbol) of all modules; what cannot be read is noted."""
    for module in loaded:
        try:
            for symbol in _symbols_of(kernel, module):
                yield module.name, symbol
        except SourceError as error:
            kernel.notes.missing("modules' symbols", module.name, error)


def module_types(kernel: Kernel) -> Iterator[tuple[str, bytes]]:
    """(module, its BTF) of those that have events: ``btf_modules`` (kernel/bpf/btf.c).

    ``struct module`` itself forgets where that was once it is loaded (``do_init_module()``).
    """
    head = kernel.symbols.find("btf_modules")
    if head is None or not kernel.place("btf_module", "list"):
        return
    room = _MAX_TYPES
    what = "modules' types"
    for entry in entries(kernel, head, "btf_module", "list", what, limit=_MAX_MODULES):
        try:
            module, types = entry.follow("module"), entry.follow("btf")
            if module is None or types is None or not module.get("num_trace_events"):
                continue
            size, name = types["data_size"], module.text("name")
            if size > room:
                raise ParseError(f"{size} bytes of types: more than {room}")
            room -= size
            yield name, kernel.memory.read(types["data"], size)
        except NoMember:
            raise
        except SourceError as error:
            kernel.notes.missing(what, f"{entry.address:#x}", error)


def bpf_symbols(kernel: Kernel) -> Iterator[Symbol]:
    """BPF programs and trampolines: ``bpf_kallsyms`` (kernel/bpf/core.c)."""
    head = kernel.symbols.find("bpf_kallsyms")
    if head is None or not kernel.place("bpf_ksym", "lnode"):
        return
    for symbol in entries(kernel, head, "bpf_ksym", "lnode", "BPF symbols"):
        try:
            yield Symbol(symbol["start"], "t", symbol.text("name"))
        except SourceError as error:
            kernel.notes.missing("BPF symbols", f"{symbol.address:#x}", error)
