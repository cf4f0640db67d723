from __future__ import annotations

import pytest

from tests.support.text_records import captured, make_format, record
from tracekit.errors import FormatError
from tracekit.ftrace.printers.syscalls import compile_syscall, has_bare_syscalls

AT_FDCWD = (1 << 64) - 100


@pytest.fixture(scope="module")
def boot(capture):
    return capture("same-boot-wide-7.2") / "old"


@pytest.fixture(scope="module")
def printed(boot):
    """printed(event, user data, **values) -> the whole line; ``_val`` fields are (start, size)."""

    def text(name: str, tail: bytes = b"", /, **values: int | tuple[int, int]) -> str:
        fmt = captured(boot, f"syscalls/{name}")
        printer = compile_syscall(fmt)
        assert printer is not None
        end = len(record(fmt))
        packed = {
            key: value if isinstance(value, int) else end + value[0] | value[1] << 16
            for key, value in values.items()
        }
        payload = record(fmt, tail, **packed)
        return printer.prefix + printer.render(payload) + printer.suffix

    return text


def test_values(printed):
    assert printed("sys_enter_close", fd=9) == "sys_close(fd: 9)"
    assert printed("sys_enter_close", fd=10) == "sys_close(fd: 0xa)"
    assert printed("sys_enter_close", fd=(1 << 64) - 1) == "sys_close(fd: 0xffffffffffffffff)"
    assert printed("sys_enter_getpid") == "sys_getpid()"
    assert printed("sys_exit_close", ret=-9) == "sys_close -> 0xfffffffffffffff7"
    assert printed("sys_exit_close", ret=0) == "sys_close -> 0x0"


def test_text_from_user_space(printed):
    where = {"filename": 0x7F00, "__filename_val": (0, 5)}
    assert printed("sys_enter_chdir", b"/tmp\0", **where) == ('sys_chdir(filename: 0x7f00 "/tmp")')
    # the length counts, and so does the end of the record
    assert printed("sys_enter_chdir", b"/tmpXY", **where).endswith(' "/tmpX")')
    assert printed("sys_enter_chdir", b"/t", **where).endswith(' "/t")')
    assert printed("sys_enter_chdir", filename=1, __filename_val=0xFFFFFFFF) == (
        'sys_chdir(filename: 1 "")'
    )


def test_two_texts(printed):
    text = printed(
        "sys_enter_rename", b"old\0new\0",
        oldname=16, newname=32, __oldname_val=(0, 4), __newname_val=(4, 4),
    )  # fmt: skip
    assert text == 'sys_rename(oldname: 0x10 "old", newname: 0x20 "new")'


def test_text_with_a_length_argument(printed):
    text = printed("sys_enter_sethostname", b"box", name=64, len=3, __name_val=(0, 3))
    assert text == 'sys_sethostname(name: 0x40 "box", len: 3)'


def test_bytes_from_user_space(printed):
    def write(data: bytes, count: int) -> str:
        return printed(
            "sys_enter_write", data, fd=4, buf=0x1000, count=count, __buf_val=(0, len(data))
        )

    assert write(b"hi\n", 3) == 'sys_write(fd: 4, buf: 0x1000 (68:69:0a) "hi.", count: 3)'
    assert write(b"hi", 20) == 'sys_write(fd: 4, buf: 0x1000 (68:69, ...) "hi"..., count: 0x14)'
    assert write(b"\0\xff", 2) == "sys_write(fd: 4, buf: 0x1000 (00:ff), count: 2)"
    assert write(b"", 0) == "sys_write(fd: 4, buf: 0x1000 (), count: 0)"
    assert write(b"hi", -1).startswith('sys_write(fd: 4, buf: 0x1000 (68:69) "hi", ')


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, "O_RDONLY"),
        (0x80000, "O_RDONLY|O_CLOEXEC"),
        (0x88241, "O_WRONLY|O_CREAT|O_TRUNC|O_LARGEFILE|O_CLOEXEC, mode: 0640"),
        (0x10002, "O_RDWR|O_DIRECTORY, mode: 0640"),  # a bit of O_TMPFILE is enough for the mode
        (0x410002, "O_TMPFILE|O_RDWR, mode: 0640"),
        (0x3, "O_WRONLY|O_RDWR"),
        (0x8000008, "O_RDONLY|0x8000008"),
        (-0x80000000, "O_RDONLY|0xffffffff80000000"),
    ],
)
def test_openat(printed, flags, text):
    line = printed(
        "sys_enter_openat", b"f\0",
        dfd=AT_FDCWD, filename=255, flags=flags, mode=0o640, __filename_val=(0, 2),
    )  # fmt: skip
    assert line == f'sys_openat(dfd: {AT_FDCWD}, filename: 255 "f", flags: {text})'


def test_open_mode_has_three_digits(printed):
    values = {"flags": 0x40, "mode": 4, "__filename_val": (0, 0)}
    assert printed("sys_enter_openat", **values).endswith("mode: 0004)")


def old_openat():
    names = ("dfd", "filename", "flags", "mode")
    fields = [(f"int {name}", 16 + 8 * i, 8, False) for i, name in enumerate(names)]
    return make_format("syscalls", "sys_enter_openat", [("int __syscall_nr", 8, 4, True), *fields])


def test_before_6_19(boot):
    fmt = old_openat()
    printer = compile_syscall(fmt)
    assert printer is not None
    payload = record(fmt, dfd=0xFFFFFF9C, filename=0x7F00, flags=0x80000, mode=0)
    assert printer.render(payload) == "dfd: ffffff9c, filename: 7f00, flags: 80000, mode: 0"
    close = captured(boot, "syscalls/sys_enter_close")
    bare = compile_syscall(close, bare=True)
    assert bare is not None
    assert bare.render(record(close, fd=20)) == "fd: 14"
    assert has_bare_syscalls([close, fmt])
    assert not has_bare_syscalls([close, captured(boot, "syscalls/sys_enter_openat")])


def test_other_events():
    assert compile_syscall(make_format("syscalls", "sys_other", [])) is None
    with pytest.raises(FormatError):
        compile_syscall(make_format("syscalls", "sys_exit_close", []))
    odd = [("int __syscall_nr", 8, 4, True), ("struct three fd", 16, 3, False)]
    with pytest.raises(FormatError):
        compile_syscall(make_format("syscalls", "sys_enter_close", odd))
