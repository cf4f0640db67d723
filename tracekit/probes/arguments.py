"""Where a probe finds its values: in an argument of the function, or in what that points to.

Offsets come from BTF, so that one description serves the BPF programs (``struct tk_function`` of
``bpf/common.h``) and the kprobe events that stand in for them, on every kernel.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tracekit.btf import Btf
from tracekit.probes.records import Kind

__all__ = ["ARGUMENTS", "Argument", "Arguments", "Source", "resolve"]

# offsetof(struct pt_regs, the n-th syscall argument): arch/*/include/uapi/asm/ptrace.h
_SYSCALL = {
    "x86_64": (112, 104, 96, 56, 72, 64),  # di, si, dx, r10, r8, r9
    "aarch64": (0, 8, 16, 24, 32, 40),
}


class Argument(NamedTuple):
    """One value: the ``number``-th argument (from 1), or a member of the struct it points to.

    ``member``: ``struct.path.to.member``. ``base``: the argument points not to the start of the
    struct but to this member of it. ``entry``, ``stride``: for a member that is an array, the
    argument that is the index, and the struct of an entry. ``syscall``: ``number`` counts the
    arguments of the system call, which its entry function finds in ``struct pt_regs``.
    """

    number: int
    member: str = ""
    base: str = ""
    entry: int = 0
    stride: str = ""
    syscall: bool = False


class Source(NamedTuple):
    """An :class:`Argument` in one kernel: ``bytes`` is 0 where the register is the value.

    Else the value is so many bytes at argument + ``offset`` + ``entry``-th argument * ``stride``.
    """

    argument: int
    bytes: int = 0
    offset: int = 0
    entry: int = 0
    stride: int = 0


class Arguments(NamedTuple):
    """Where one kind's values and name are. ``first``: the name of parameter number 1.

    A kernel with other parameters before it (``kho_add_subtree()`` until 6.17) shifts all numbers.
    """

    values: tuple[Argument, ...] = ()
    name: Argument | None = None
    first: str = ""


def _segment(member: str) -> Argument:
    return Argument(1, f"kimage.segment.{member}", entry=2, stride="kexec_segment")


_SESSION = Argument(1, "luo_session.name", base="luo_session.file_set")

#: By the event of its kind; kinds that are not here have their values in the first arguments.
ARGUMENTS: Mapping[str, Arguments] = {
    "kexec:load": Arguments((Argument(5, syscall=True),)),
    "kexec:load_segments": Arguments((Argument(4, syscall=True),)),
    "kexec:reboot": Arguments((Argument(3, syscall=True),)),
    "kexec:load_segment": Arguments(
        (Argument(2), _segment("mem"), _segment("memsz"), _segment("bufsz"))
    ),
    "kexec:machine_kexec": Arguments((Argument(1, "kimage.start"),)),
    "kho:add_subtree": Arguments((Argument(2), Argument(3)), Argument(1), "name"),
    "luo:create_session": Arguments((), Argument(1)),
    "luo:retrieve_session": Arguments((), Argument(1)),
    "luo:finish_session": Arguments((), Argument(1, "luo_session.name")),
    "luo:preserve_file": Arguments((Argument(2), Argument(3)), _SESSION),
    "luo:retrieve_file": Arguments((Argument(2),), _SESSION),
    "luo:freeze_files": Arguments((), _SESSION),
    "ring_buffer:set_clock": Arguments((Argument(1),), Argument(2)),
    "ring_buffer:instance_mkdir": Arguments((), Argument(3, "dentry.d_name.name")),
    "ring_buffer:instance_rmdir": Arguments((), Argument(2, "dentry.d_name.name")),
}


def _shift(function: str, first: str, btf: Btf | None) -> int:
    """By how many places the arguments are shifted in this kernel."""
    known = btf.function(function) if btf is not None and first else None
    names = [label for label, _ in known.parameters] if known else []
    return names.index(first) if first in names else 0


def _syscall(argument: Argument, function: str) -> Source | None:
    if "_do_sys_" in function:  # called with the arguments themselves
        return Source(argument.number)
    offsets = _SYSCALL.get(platform.machine())
    return None if offsets is None else Source(1, 8, offsets[argument.number - 1])


def _member(argument: Argument, btf: Btf | None, size: int) -> Source | None:
    if btf is None:
        return None
    struct, _, path = argument.member.partition(".")
    member = btf.member(struct, path)
    base = btf.member(struct, argument.base.partition(".")[2]) if argument.base else None
    stride = btf.size(argument.stride) if argument.stride else 0
    if member is None or stride is None or (argument.base and base is None):
        return None
    offset = member.offset - (base.offset if base else 0)
    return Source(argument.number, size, offset, argument.entry, stride)


def _source(
    argument: Argument, function: str, btf: Btf | None, shift: int, size: int
) -> Source | None:
    if argument.syscall:
        return _syscall(argument, function)
    if argument.member:
        return _member(argument, btf, size)
    return Source(argument.number + shift)


def resolve(
    kind: Kind, function: str, btf: Btf | None
) -> tuple[Sequence[Source | None], Source | None]:
    """Where ``function`` has the values and the name of ``kind``.

    None for what cannot be located: there is no BTF, or no such member. A name's ``bytes`` is 8
    where there is a pointer to the text and 1 where the text itself is there.
    """
    default = tuple(Argument(i + 1) for i in range(len(kind.values)))
    spec = ARGUMENTS.get(kind.event, Arguments(default))
    shift = _shift(function, spec.first, btf)
    values = [_source(argument, function, btf, shift, 8) for argument in spec.values]
    if spec.name is None:
        return values, None
    size = 8 if spec.name.member.startswith("dentry.") else 1
    return values, _source(spec.name, function, btf, shift, size)
