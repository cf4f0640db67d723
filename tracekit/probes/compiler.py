"""Compiles the BPF programs of ``bpf/`` with BCC, on the spot and for the running kernel.

What comes out is kept: the next recording on the same kernel needs neither BCC nor its time.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tracekit.errors import TracekitError
from tracekit.probes.control import control_macros
from tracekit.probes.headers import Headers
from tracekit.probes.kernel import ProbedKernel, page_shift
from tracekit.probes.objects import Map, Objects, with_maps
from tracekit.probes.records import KINDS

__all__ = ["ProbesUnavailable", "Sources", "compile_programs", "unavailable"]

_SOURCES = Path(__file__).parent / "bpf"
_RING_PAGES = 1024  # of the BPF ring buffer: some 27,000 records
# 7.x headers have anonymous members of a named struct type, as the kernel's own Makefile allows
_CFLAGS = ("-fms-extensions", "-Wno-microsoft-anon-tag", "-w")


class ProbesUnavailable(TracekitError):
    """No BPF probe can be loaded here; the message says why and what to do."""


def unavailable(problem: str, advice: str) -> ProbesUnavailable:
    """The error that says what stands against BPF probes, and what to do."""
    return ProbesUnavailable(f"BPF probes: {problem}: {advice}, or go without with --no-bpf")


class Sources(NamedTuple):
    """What is compiled: the text, the compiler's flags, and the trees of headers to try."""

    text: bytes
    cflags: tuple[str, ...]
    headers: tuple[Headers, ...]

    @classmethod
    def read(
        cls, kernel: ProbedKernel, subjects: Sequence[str], headers: Sequence[Headers]
    ) -> Sources:
        """The programs of ``subjects`` (files of ``bpf/``) for a kernel."""
        return cls(_source_text(subjects).encode(), _cflags(kernel), tuple(headers))

    def digest(self, kernel: bytes) -> str:
        """A name for what comes out on a kernel, which ``kernel`` identifies: its build ID."""
        digest = hashlib.sha256()
        trees = [one.content() if one.own else one.place.encode() for one in self.headers]
        for part in (kernel, self.text, *(flag.encode() for flag in self.cflags), *trees):
            digest.update(b"%d:" % len(part) + part)
        return digest.hexdigest()[:32]


@contextlib.contextmanager
def _captured() -> Iterator[list[str]]:
    """Captures what C++ code writes to descriptor 2 in the list that is yielded."""
    lines: list[str] = []
    saved, sink = os.dup(2), os.memfd_create("bcc", os.MFD_CLOEXEC)
    os.dup2(sink, 2)
    try:
        yield lines
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        lines += os.pread(sink, 1 << 16, 0).decode("utf-8", "backslashreplace").splitlines()
        os.close(sink)


def _source_text(subjects: Sequence[str]) -> str:
    names = ("records.h", "common.h", *(f"{subject}.c" for subject in subjects))
    try:
        return "\n".join((_SOURCES / name).read_text("utf-8") for name in names)
    except OSError as error:
        raise unavailable(
            f"{error.filename}: {error.strerror}", "the installation lacks bpf/; install again"
        ) from error


def _cflags(kernel: ProbedKernel) -> tuple[str, ...]:
    macros = {f"TK_KIND_{k.event.replace(':', '_').upper()}": k.id for k in KINDS.values()}
    macros |= {"TK_RING_PAGES": _RING_PAGES, "TK_PAGE_SHIFT": page_shift()}
    macros |= kernel.device_macros() | control_macros(kernel)
    if kernel.choose(("kho_radix_add_key",)):
        macros["TK_KHO_KEY"] = 1
    return (*_CFLAGS, *(f"-D{name}={value}" for name, value in macros.items()))


def _attempt(bcc: Any, sources: Sources, headers: Headers) -> Objects | str:
    """The programs, or what the compiler said."""
    with _captured() as output, headers.chosen():
        try:
            bpf = bcc.BPF(text=sources.text, cflags=list(sources.cflags))
        except Exception as error:  # BCC raises nothing more special
            problem = str(error)
        else:
            try:
                return _taken(bcc.libbcc.lib, bpf.module, headers.place)
            finally:
                bpf.cleanup()
    errors = [line for line in output if "error:" in line] or output[-3:] or [problem]
    return "; ".join(errors[:3])


def _taken(lib: Any, module: int, place: str) -> Objects:
    """What BCC made: its maps as they were described, its programs as they would be loaded."""
    handle = ctypes.c_void_p(module)
    lib.bpf_table_name.restype = ctypes.c_char_p  # of the few that BCC itself does not declare

    def of_table(what: str, number: int) -> Any:
        return getattr(lib, f"bpf_table_{what}")(handle, ctypes.c_size_t(number))

    maps, numbers = [], {}
    for i in range(lib.bpf_num_tables(handle)):
        numbers[of_table("fd_id", i)] = i
        numbers_of = ("type_id", "key_size_id", "leaf_size_id", "max_entries_id", "flags_id")
        kind, key, value, entries, flags = (of_table(what, i) for what in numbers_of)
        maps.append(Map(of_table("name", i).decode(), kind, key, value, entries, flags))
    programs = {}
    for i in range(lib.bpf_num_functions(handle)):
        name = lib.bpf_function_name(handle, i)
        start, size = lib.bpf_function_start(handle, name), lib.bpf_function_size(handle, name)
        programs[name.decode()] = with_maps(ctypes.string_at(start, size), numbers)
    return Objects(tuple(maps), programs, place)


def compile_programs(bcc: Any, sources: Sources) -> Objects:
    """Compile with the first of the header trees that will do.

    Raises :class:`ProbesUnavailable` where none does.
    """
    said = []
    for headers in sources.headers:
        result = _attempt(bcc, sources, headers)
        if not isinstance(result, str):
            return result
        said.append(f"with {headers.place}: {result}")
    raise unavailable(
        f"BCC {getattr(bcc, '__version__', '?')} cannot compile them: {'; '.join(said)}",
        "install a newer BCC",
    )
