"""Every parser that is fuzzed, and what it may raise.

A target takes an input's bytes and returns nothing. Any exception but its documented ones is a
finding, and so are an assertion that fails, a sanitizer's report, and more time than
:mod:`tests.fuzz.check` allows for an input of that size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.parsers import binaries, dead_kernels, kho, native, ring, sessions, texts
from tracekit.errors import FormatError, ParseError, SessionError, SourceError, UsageError

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Target:
    """``documented``: what the parser may raise; ``longest``: bytes of an input at most.

    ``native``: C under sanitizers; the others are Python. ``size`` tells how many bytes the parser
    reads of an input, which its time is measured by.
    """

    name: str
    run: Callable[[bytes], None]
    documented: tuple[type[Exception], ...] = ()
    longest: int = 4096
    native: bool = False
    size: Callable[[bytes], int] = len

    @property
    def seeds(self) -> list[Path]:
        """The inputs that are kept: cut from captures, and found by fuzzing."""
        folders = (HERE / kind / self.name for kind in ("seeds", "found"))
        return [file for folder in folders for file in sorted(folder.glob("*"))]


def _patched_size(data: bytes) -> int:
    return len(ring.patched_region(data))


_ALL = (
    Target("native_ring", native.walk, native=True),
    Target("native_columns", native.fields, native=True),
    Target("native_symbols", native.kallsyms, native=True),
    Target("native_lines", native.text_lines, native=True),
    Target("native_programs", native.programs, native=True),
    Target("native_perfetto", native.perfetto_events, native=True),
    Target("native_counter", native.clocks, native=True, longest=64),
    Target("region", ring.region, longest=1 << 16),
    Target("region_patches", ring.patches, longest=512, size=_patched_size),
    Target("pages", ring.pages),
    Target("format", ring.format_file, (FormatError,)),
    Target("print_fmt", ring.print_fmt, (FormatError,), 2048),
    Target("header_page", texts.header_page, (FormatError,), 1024),
    Target("kallsyms", texts.kallsyms),
    Target("probed_kernel", texts.probed_kernel),
    Target("kernel_log", texts.kernel_log),
    Target("kmsg", texts.kmsg, longest=1024),
    Target("names", texts.names),
    Target("binary_printf", texts.binary_printf, (FormatError,), 1024),
    Target("cmdline", texts.cmdline, (UsageError,), 4096),
    Target("date", texts.date, longest=64),
    Target("region_spec", texts.region_spec, (UsageError,), 128),
    Target("expression", texts.expression, (UsageError,), 2048),
    Target("device_tree", binaries.device_tree, (ParseError,)),
    Target("kho_blobs", binaries.kho_blobs, longest=128),
    Target("luo", kho.luo, longest=512, size=lambda data: 1 << 16),
    Target("luo_handlers", kho.handlers, longest=512, size=lambda data: 1 << 16),
    Target("kept_memory", kho.kept_memory, (ParseError,), longest=1 << 16),
    Target("memory_texts", kho.scratch, (ParseError,)),
    Target("elf_core", binaries.elf_core, (SourceError,)),
    Target("dump_file", binaries.dump_file, (SourceError,), 1 << 16),
    Target("page_codecs", binaries.page_codecs),
    Target("trace_dat", binaries.trace_dat, (SourceError,), 1 << 16),
    Target("btf", binaries.btf, (ParseError,)),
    Target("vmcoreinfo", dead_kernels.vmcoreinfo, (ParseError,)),
    Target("page_tables", dead_kernels.tables),
    Target("packed_symbols", dead_kernels.packed_symbols, (SourceError,)),
    Target("seed_tree", dead_kernels.seed_tree, (ParseError,)),
    Target("bpf_records", binaries.bpf_records),
    Target("tar", binaries.tar, (SessionError,), 8192),
    Target("compressed", binaries.compressed, (SessionError,)),
    Target("packed", sessions.packed, (SessionError,), 8192),
    Target("manifest", sessions.manifest, (SessionError,)),
    Target("index", sessions.index, (ValueError, RecursionError), 8192),
    Target("clock_samples", sessions.clock_samples, (ValueError, RecursionError)),
    Target("notes", sessions.notes),
    Target("canary", sessions.canary, (ParseError,)),
    Target("systemd_store", sessions.systemd_store, (SourceError,)),
    Target("systemd", sessions.systemd),
    Target("bpf_file", sessions.bpf_file),
    Target("boot", sessions.boot),
    Target("file_names", sessions.file_names, longest=512),
)

TARGETS = {target.name: target for target in _ALL}
