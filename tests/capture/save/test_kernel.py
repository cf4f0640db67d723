"""What describes a kernel, from whatever its files hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.save.kernel import (
    UNKNOWN_KERNEL,
    build_id,
    describe_kernel,
    online_cpus,
    symbol_address,
)
from tracekit.carriers.machine import config_text
from tracekit.session.identity import identity


@given(st.binary(max_size=200))
def test_any_notes(data: bytes) -> None:
    found = build_id(data)
    assert found is None or bytes.fromhex(found) in data


def test_a_build_id_after_other_notes() -> None:
    xen = b"\x04\0\0\0\x05\0\0\0\x06\0\0\0Xen\0" + b"12345\0\0\0"
    gnu = b"\x04\0\0\0\x04\0\0\0\x03\0\0\0GNU\0" + b"\xde\xad\xbe\xef"
    assert build_id(xen + gnu) == "deadbeef"
    assert build_id(xen + gnu[:-1]) is None
    assert build_id(xen) is None


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\x1f\x8b" + bytes(40)])
def test_damaged_configs(data: bytes) -> None:
    assert config_text(data) == ""


def test_cpus_and_symbols() -> None:
    assert online_cpus("cpu  1\ncpu0 1\ncpu17 1\nintr 5\n") == 2
    assert online_cpus("") is None
    kallsyms = (
        b"0000000000000000 A fixed\nffffffff81000000 T _text\nffffffffc0000000 t _text\t[mod]\n"
    )
    assert symbol_address(kallsyms, "_text") == 0xFFFFFFFF81000000
    assert symbol_address(kallsyms, "fixed") is None
    assert symbol_address(kallsyms, "_tex.") is None


@given(
    st.dictionaries(
        st.sampled_from(
            ["version", "cmdline", "boot_id", "stat", "uptime", "notes", "kallsyms", "config.gz",
             "header_page", "trace_clock"]
        ),
        st.binary(max_size=60),
    )
)  # fmt: skip
def test_any_kernel_files_describe_some_kernel(files: dict[str, bytes]) -> None:
    kernel = describe_kernel(files)
    assert kernel.keys() == UNKNOWN_KERNEL.keys()
    json.dumps(kernel)
    assert identity(kernel)


def test_an_unknown_kernel_is_like_no_other() -> None:
    assert identity(UNKNOWN_KERNEL) == ""


@pytest.mark.parametrize(
    ("header", "config", "size"),
    [
        ("field: char data; offset:16; size:4080;", b"", 4096),
        ("field: char data; offset:16; size:65520;", b"", 65536),
        ("field: char data; offset:16; size:4081;", b"", None),
        ("", b"", None),
        ("field: char data; offset:16; size:4080;", b"CONFIG_PAGE_SHIFT=14\n", 16384),
    ],
)
def test_page_sizes(header: str, config: bytes, size: int | None) -> None:
    import gzip

    files = {"header_page": header.encode(), "config.gz": gzip.compress(config)}
    assert describe_kernel(files)["page_size"] == size


def test_the_boot_loader() -> None:
    """``type_of_loader`` of the boot parameters: 0xd0 is kexec."""
    parameters = bytes(0x210) + b"\xd0" + bytes(100)
    assert describe_kernel({"boot_params": parameters})["boot_loader"] == 0xD0
    for other in (b"", bytes(4096), parameters[:0x210]):
        assert describe_kernel({"boot_params": other})["boot_loader"] is None
