"""Which headers BCC compiles with, and that those that ship say what the kernel's do."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from tracekit.probes.headers import SOURCE, header_choices, installed_headers
from tracekit.sysroot import Sysroot

OWN = Path(__file__).parents[2] / "bpf" / "headers"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOURCE, raising=False)


def tree(base: Path, *files: str) -> Sysroot:
    for rel in files:
        (base / rel).parent.mkdir(parents=True, exist_ok=True)
        (base / rel).touch()
    return Sysroot(base)


def test_the_kernels_own_headers_are_the_second_choice(tmp_path: Path) -> None:
    root = tree(tmp_path, "lib/modules/6.12/build/include/x.h")
    own, installed = header_choices(root, "6.12", "x86_64")
    assert own.own and Path(own.place).samefile(OWN)
    assert (installed.own, installed.place) == (False, f"{tmp_path}/lib/modules/6.12/build")
    assert header_choices(root, "6.12", "s390x") == (installed,)
    assert header_choices(root, "6.13", "s390x") == ()
    assert [choice.own for choice in header_choices(root, "6.13", "aarch64")] == [True]


def test_an_empty_build_directory_is_no_headers(tmp_path: Path) -> None:
    assert installed_headers(tree(tmp_path, "lib/modules/6.12/build/x"), "6.12") is None
    kheaders = tree(tmp_path, "sys/kernel/kheaders.tar.xz")
    assert installed_headers(kheaders, "6.12") == (f"{tmp_path}/sys/kernel/kheaders.tar.xz", False)
    assert installed_headers(kheaders, "") is None


def test_bcc_is_told_only_while_it_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path, "sys/kernel/kheaders.tar.xz")
    own, installed = header_choices(root, "6.12", "x86_64")
    with pytest.raises(ZeroDivisionError), own.chosen():
        assert os.environ[SOURCE] == own.place
        raise ZeroDivisionError
    with installed.chosen():
        assert SOURCE not in os.environ
    assert SOURCE not in os.environ
    monkeypatch.setenv(SOURCE, "/usr/src/linux")
    (named,) = header_choices(root, "6.12", "x86_64")
    with named.chosen():
        assert os.environ[SOURCE] == "/usr/src/linux"
    assert (os.environ[SOURCE], named.own) == ("/usr/src/linux", False)


REGISTERS = """
#include <stddef.h>
#include <sys/ptrace.h>
#include <asm/ptrace.h>
_Static_assert(sizeof(struct pt_regs) == SIZE, "");
SAME
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86's registers")
def test_the_registers_are_where_the_abi_has_them(tmp_path: Path) -> None:
    """The C library's copy of the kernel's asm/ptrace.h has the old names of the same places."""
    text = (OWN / "include/uapi/linux/ptrace.h").read_text()
    body = text[text.index("__x86_64__") :]
    names = re.findall(r"\b(?:r\d+|\w+)(?=[,;])", body[: body.index("};")])
    assert len(names) == 21
    old = {n: n if n[1:].isdecimal() else f"r{n}" for n in names}
    old |= {"orig_ax": "orig_rax", "flags": "eflags", "cs": "cs", "ss": "ss"}
    asserts = "\n".join(
        f'_Static_assert(offsetof(struct pt_regs, {old[name]}) == {8 * i}, "{name}");'
        for i, name in enumerate(names)
    )
    source = REGISTERS.replace("SIZE", str(8 * len(names))).replace("SAME", asserts)
    subprocess.run(["gcc", "-fsyntax-only", "-x", "c", "-"], input=source.encode(), check=True)


def test_every_header_stands_alone() -> None:
    headers = sorted((OWN / "include").rglob("*.h"))
    assert len(headers) == 10
    types = OWN / "include/linux/types.h"
    argv = ["gcc", "-fsyntax-only", "-Wall", "-Werror", "-nostdinc", "-DTK_PAGE_SHIFT=12"]
    argv += ["-x", "c", f"-I{OWN}/include", "-include", str(types), "-"]
    text = "".join(f"#include <{path.relative_to(OWN / 'include')}>\n" for path in headers)
    sizes = {"u8": 1, "s16": 2, "__be32": 4, "s64": 8, "__aligned_u64": 8, "size_t": 8}
    checks = [f'_Static_assert(sizeof({t}) == {n}, "{t}");' for t, n in sizes.items()]
    checks += ['_Static_assert(PAGE_SIZE == 4096 && KERNEL_VERSION(5, 16, 0) == 0x51000, "");']
    checks += [f'_Static_assert(sizeof(struct pt_regs) == {struct.calcsize("21Q")}, "");']
    subprocess.run(argv, input="\n".join([text, *checks]).encode(), check=True)
