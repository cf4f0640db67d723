"""Copies of ``tracekit/_native`` under AddressSanitizer and UndefinedBehaviorSanitizer.

Built by clang with libFuzzer's coverage, beside libFuzzer itself as a Python module. What the
project is built with stays as it is: :func:`load` puts the copies in its place in one process.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/fuzz"
_LIBFUZZER = "tracekit_libfuzzer"
_SANITIZERS = "address,undefined,fuzzer-no-link"
_FLAGS = ("-fPIC", "-g", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-std=c11")


class Missing(Exception):
    """What this machine lacks to build the copies, and how to get it."""


def _runtime(name: str) -> Path:
    """A library of clang's own; clang 16 and later name them without the machine."""
    asked = subprocess.run(
        ["clang", "-print-resource-dir"], check=True, capture_output=True, text=True
    )
    stem, dot, suffix = name.rpartition(".")
    wanted = (f"{stem}-{platform.machine()}{dot}{suffix}", name)
    found = [p for w in wanted for p in sorted(Path(asked.stdout.strip()).rglob(w))]
    mine = [p for p in found if platform.machine() in f"{p.parent.name}/{p.name}"]
    if not mine:
        raise Missing(f"clang's {name} (Debian: libclang-rt-dev)")
    return mine[0]


def _clang(*arguments: str | Path) -> None:
    done = subprocess.run(["clang", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"a clang that can build this:\n{done.stderr}")


def _modules() -> dict[str, list[Path]]:
    """Module -> its C sources, as ``pyproject.toml`` has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    modules = project["tool"]["setuptools"]["ext-modules"]
    return {m["name"]: [ROOT / source for source in m["sources"]] for m in modules}


def build() -> dict[str, str]:
    """Build what is out of date; returns the environment in which :func:`load` works.

    Raises :class:`Missing`.
    """
    if shutil.which("clang") is None:
        raise Missing("clang (Debian: clang libclang-rt-dev)")
    asan, fuzzer = _runtime("libclang_rt.asan.so"), _runtime("libclang_rt.fuzzer_no_main.a")
    BUILD.mkdir(parents=True, exist_ok=True)
    include = f"-I{sysconfig.get_path('include')}"
    limited = "-DPy_LIMITED_API=0x030B0000"
    own = ROOT / "tests/fuzz/libfuzzer.c"
    headers = list((ROOT / "tracekit/_native").rglob("*.h"))
    driver = BUILD / f"{_LIBFUZZER}.so"
    if _older(driver, [own]):
        whole = ("-Wl,--whole-archive", fuzzer, "-Wl,--no-whole-archive")
        libraries = ("-lstdc++", "-lm", "-lpthread", "-ldl")
        _clang(
            "-shared", "-fPIC", "-O1", include, limited, own, *whole, *libraries, "-o", driver
        )  # fmt: skip
    for name, sources in _modules().items():
        made = BUILD / f"{name}.so"
        if _older(made, [*sources, *headers]):
            _clang(
                "-shared", f"-fsanitize={_SANITIZERS}", "-shared-libasan", *_FLAGS, include,
                limited, *sources, "-o", made,
            )  # fmt: skip
    return {
        # libFuzzer first: the sanitizer has weak functions of the same names that do nothing
        "LD_PRELOAD": f"{driver} {asan}",
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1"
        ":quarantine_size_mb=16:symbolize=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # so that a byte beyond an object is seen
    }


def _older(made: Path, sources: list[Path]) -> bool:
    if not made.exists():
        return True
    return made.stat().st_mtime_ns < max(s.stat().st_mtime_ns for s in sources)


def _imported(name: str, path: Path) -> ModuleType:
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def load() -> ModuleType:
    """Put the copies in the place of ``tracekit._native.*``; returns libFuzzer's module.

    Only in a process that was started in the environment of :func:`build`.
    """
    sys.setdlopenflags(os.RTLD_GLOBAL | os.RTLD_NOW)
    libfuzzer = _imported(_LIBFUZZER, BUILD / f"{_LIBFUZZER}.so")
    sys.setdlopenflags(os.RTLD_NOW)
    package = importlib.import_module("tracekit._native")
    for name in _modules():
        setattr(package, name.rpartition(".")[2], _imported(name, BUILD / f"{name}.so"))
    return libfuzzer
