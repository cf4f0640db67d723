"""The next kernel's command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.capture.cmdline.compose import MAX_CMDLINE, next_cmdline
from tracekit.errors import UsageError
from tracekit.parameters import parse_cmdline

FIRST = (
    "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet kho=on reserve_mem=4M:2M:tkA "
    "reserve_mem=4M:2M:tkB trace_instance=tk^traceoff@tkA"
)


def test_regions_take_turns() -> None:
    first = next_cmdline(FIRST, "/var/lib/s")
    assert first.region == "tkB"
    assert first.cmdline == (
        "root=/dev/vda1 ro quiet reserve_mem=4M:2M:tkA reserve_mem=4M:2M:tkB kho=on "
        "trace_instance=tk^traceoff@tkB trace_clock=x86-tsc "
        "trace_event=initcall:*,sched:sched_process_exec tracekit.session=/var/lib/s"
    )
    second = next_cmdline(first.cmdline, "/var/lib/s")
    assert second.region == "tkA"
    assert next_cmdline(second.cmdline, "/var/lib/s").cmdline == first.cmdline


def test_a_new_command_line_keeps_the_reservations() -> None:
    found = next_cmdline(FIRST, None, base="console=ttyS0 -- single", clock="local")
    assert found.cmdline == (
        "console=ttyS0 kho=on reserve_mem=4M:2M:tkA reserve_mem=4M:2M:tkB "
        "trace_instance=tk^traceoff@tkB trace_event=initcall:*,sched:sched_process_exec -- single"
    )


def test_other_peoples_tracing_stays() -> None:
    text = (
        f"{FIRST} trace_instance=mine,sched:* trace_event=kmem:*,initcall:* "
        'reserve_mem=1M:2M:oops ramoops.mem_name=oops dyndbg="file a.c +p"'
    )
    found = next_cmdline(text, "/var/lib/a session")
    command = parse_cmdline(found.cmdline)
    assert found.region == "tkB"
    assert [i.name for i in command.instances] == ["mine", "tk"]
    assert command.trace_event == ("kmem:*", "initcall:*", "sched:sched_process_exec")
    assert 'dyndbg="file a.c +p"' in found.cmdline
    assert found.cmdline.endswith('tracekit.session="/var/lib/a session"')


def test_without_a_second_region_there_is_a_warning() -> None:
    found = next_cmdline("kho=on reserve_mem=4M:2M:tkA trace_instance=tk@tkA", "/s")
    assert found.region is None
    assert "trace_instance" not in found.cmdline
    assert "second region" in found.warnings[0]


@pytest.mark.parametrize("more", ["ramoops.mem_name=tkB", "trace_instance=mine@tkB"])
@pytest.mark.parametrize("base", [None, "quiet "])
def test_a_region_that_somebody_uses_is_not_taken(more: str, base: str | None) -> None:
    current, base = (f"{FIRST} {more}", None) if base is None else (FIRST, base + more)
    found = next_cmdline(current, "/s", base=base)
    assert found.region is None and more in found.cmdline
    assert ("tkB is used by ramoops" in found.warnings[0]) == more.startswith("ramoops")


def test_a_backup_comes_after_what_it_copies() -> None:
    backup = "trace_instance=backup=tk"
    found = next_cmdline(FIRST.replace("ro ", f"ro {backup} "), "/s")
    assert found.warnings == ()
    assert found.cmdline.index("trace_instance=tk^traceoff@tkB") < found.cmdline.index(backup)


def test_no_backup_of_an_instance_that_is_not_made() -> None:
    copies = "trace_instance=backup=tk trace_instance=again=backup"
    found = next_cmdline(f"kho=on reserve_mem=4M:2M:tkA trace_instance=tk@tkA {copies}", "/s")
    assert "trace_instance" not in found.cmdline
    assert copies in found.warnings[1]
    mine = "trace_instance=mine,sched:* trace_instance=copy=mine"
    assert next_cmdline(f"{FIRST} {mine}", "/s").cmdline.count("mine") == 2


def test_what_no_command_line_can_hold() -> None:
    with pytest.raises(UsageError, match="quotes"):
        next_cmdline(FIRST, '/a"b')
    with pytest.raises(UsageError, match=str(MAX_CMDLINE - 1)):
        next_cmdline(FIRST, "/s", base="x" * MAX_CMDLINE)


@given(st.text(max_size=200))
def test_any_text_gives_a_line_or_says_why_not(text: str) -> None:
    try:
        found = next_cmdline(text, "/s")
    except UsageError:
        return
    assert parse_cmdline(found.cmdline).kho is True


def test_live_update_is_recorded_where_it_is_on() -> None:
    """Once, and not where it would not fit, or where the user has probes of their own."""
    on = next_cmdline(f"{FIRST} liveupdate=on", "/s").cmdline
    (word,) = [w for w in on.split() if w.startswith("kprobe_event=")]
    assert "p:luo_boot/retrieve_session,luo_session_retrieve,session=+0($arg1):string" in word
    assert "r:luo_boot/retrieve_file_return,luo_retrieve_file,ret=$retval:s32" in word
    assert next_cmdline(on, "/s").cmdline.count("kprobe_event=") == 1
    assert "kprobe_event=" not in next_cmdline(FIRST, "/s").cmdline
    own = next_cmdline(f"{FIRST} liveupdate=on kprobe_event=p,vfs_read", "/s").cmdline
    assert own.count("kprobe_event=") == 1
    long = next_cmdline(f"{FIRST} liveupdate=on {'x' * 1500}", "/s").cmdline
    assert "kprobe_event=" not in long
