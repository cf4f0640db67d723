"""A guest's console: lines, marks, and what an error shows of it."""

from __future__ import annotations

import pytest

from tracekit.lab.console import (
    Line,
    Lines,
    is_panic,
    last_lines,
    mark,
    read_marks,
    trouble,
)

HANDOVER = ["@lab begin 0", "hello", "@lab begin 1", "recovered", "@lab end 1 0", "@lab packed 0"]


def lines(*texts: str) -> list[Line]:
    return [Line(number, text) for number, text in enumerate(texts)]


def test_bytes_become_lines_wherever_they_are_cut() -> None:
    data = b"one\r\n\x1b[0;32m  OK  \x1b[0m two\r\n\x1b[!p\x1b]0;title\x07th\xc3\xa9\xff\nrest"
    wanted = ["one", "  OK   two", "thé\\xff", "rest"]
    for cut in range(len(data)):
        reader = Lines()
        got = [*reader.feed(data[:cut]), *reader.feed(data[cut:]), *reader.end()]
        assert [line.text for line in got] == wanted
        assert [line.ns for line in got] == sorted(line.ns for line in got)


def test_marks() -> None:
    assert mark("@lab end 3 127") == ("end", (3, 127))
    assert mark("say @lab end 3 127") is None
    assert mark("@lab broken: no root image on /dev/vda") == ("broken", ())
    progress = read_marks(lines(*HANDOVER))
    assert progress.statuses == (None, 0)
    assert progress.packed
    assert read_marks(lines("@lab begin", "@lab end x y", "@lab packed", "@lab")).statuses == ()


@pytest.mark.parametrize(
    ("console", "reason"),
    [
        ([], "before its first script"),
        (["@lab broken: no data disk on /dev/vdb"], "no data disk on /dev/vdb"),
        (["@lab begin 0"], "while the script of boot 0 ran"),
        (["@lab begin 0", "@lab end 0 3", "@lab packed 0"], "boot 0 failed with status 3"),
        (["@lab begin 0", "@lab end 0 0", "@lab packed 0"], "2 boots were planned"),
        (["@lab begin 0", "@lab end 0 0", "@lab stayed 0", "@lab packed 0"], "did not leave"),
        ([*HANDOVER[:-2], "[ 3.1] Kernel panic - not syncing: Oops"], "panic - not syncing: Oops"),
        ([*HANDOVER[:-1], "@lab packed 2"], "could not be written out"),
        ([*HANDOVER, "@lab unexpected 2"], "boot 2 came unexpected"),
    ],
)
def test_why_a_run_failed(console: list[str], reason: str) -> None:
    assert reason in str(trouble(lines(*console), 2))


def test_a_good_run_has_no_trouble() -> None:
    assert trouble(lines(*HANDOVER), 2) is None


def test_a_panic_that_a_script_caused_is_no_trouble_but_a_second_one_is() -> None:
    panic = "[ 31.6] Kernel panic - not syncing: sysrq triggered crash"
    console = [HANDOVER[0], panic, f"[ 31.7] ---[ end {panic.split('] ')[1]} ]---", *HANDOVER[2:]]
    assert [is_panic(line) for line in lines(*console[:3])] == [False, True, False]
    assert trouble(lines(*console), 2, panics=1) is None
    assert "sysrq triggered" in str(trouble(lines(*console), 2))
    again = [*console[:4], "Kernel panic - not syncing: VFS"]
    assert str(trouble(lines(*again), 2, panics=1)).endswith("VFS")


def test_an_error_ends_with_the_last_lines() -> None:
    text = last_lines(lines(*(f"line {n}" for n in range(100)), "", "the last"))
    assert text.endswith("  line 99\n  the last")
    assert "line 70" not in text
    assert "line 71" in text
