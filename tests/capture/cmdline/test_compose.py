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
    command = parse_cmdline(found.cmdline)
    assert command.kho is True or any(i.address for i in parse_cmdline(text).instances)


# -- carve-outs -------------------------------------------------------------------------------

CARVED = (
    "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro memmap=16M$0x70000000 "
    "trace_instance=tk^traceoff@0x70000000:8M"
)


def test_the_halves_of_a_carve_out_take_turns() -> None:
    first = next_cmdline(CARVED, "/s")
    assert first.region == "carveout-70800000" and first.warnings == ()
    assert first.cmdline == (
        "root=/dev/vda1 ro memmap=16M$0x70000000 trace_instance=tk^traceoff@0x70800000:8M "
        "trace_clock=x86-tsc trace_event=initcall:*,sched:sched_process_exec tracekit.session=/s"
    )
    second = next_cmdline(first.cmdline, "/s")
    assert second.region == "carveout-70000000"
    assert next_cmdline(second.cmdline, "/s").cmdline == first.cmdline


@pytest.mark.parametrize(
    "memmap",
    [
        "memmap=16M$0x70000000",
        "memmap=16M%0x70000000-1+2",
        "memmap=8M$0x70000000 memmap=8M$0x70800000",
        "memmap=8M$0x70000000,8M$0x70800000",
    ],
)
def test_memmap_is_carried_on(memmap: str) -> None:
    current = f"quiet memmap=1M$0x1000000 {memmap} trace_instance=tk@0x70000000:8M"
    found = next_cmdline(current, "/s", base="console=ttyS0")
    assert found.region == "carveout-70800000"
    assert found.cmdline.startswith(f"console=ttyS0 {memmap} trace_instance=")
    assert "1M$0x1000000" not in found.cmdline  # not ours, and --append replaces it
    kept = next_cmdline(current, "/s", base=f"console=ttyS0 {memmap}").cmdline
    assert kept.count("0x70000000") == 1  # there already; the instance is on the other half


def test_kho_is_left_as_it_is_beside_a_carve_out() -> None:
    assert "kho" not in next_cmdline(CARVED, "/s").cmdline
    for word in ("kho=on", "kho=off"):
        assert next_cmdline(f"{CARVED} {word}", "/s").cmdline.split().count(word) == 1


def test_a_carve_out_without_a_second_half() -> None:
    found = next_cmdline("memmap=8M$0x70000000 trace_instance=tk@0x70000000:8M", "/s")
    assert found.region is None and "memmap=8M$0x70000000" in found.cmdline
    assert "trace_instance" not in found.cmdline and "no second half" in found.warnings[0]


def test_a_half_that_somebody_uses_is_not_taken() -> None:
    found = next_cmdline(f"{CARVED} trace_instance=mine@0x70800000:8M", "/s")
    assert found.region is None and "trace_instance=mine@0x70800000:8M" in found.cmdline


@pytest.mark.parametrize("carrier", ["kho", "carveout"])
def test_of_two_carriers_the_one_that_is_asked_for(carrier: str) -> None:
    both = f"{CARVED.replace('=tk^', '=t2^')} {FIRST}"
    found = next_cmdline(both, "/s", carrier=carrier)
    assert found.instance == {"kho": "tk", "carveout": "t2"}[carrier]
    assert found.region == {"kho": "tkB", "carveout": "carveout-70800000"}[carrier]


@pytest.mark.parametrize("wrong", ["memmap=16M", "memmap=16Mx70000000", r"memmap=16M\$0x70000000"])
def test_a_lost_dollar_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"limits the memory to 16M.*take the \$"):
        next_cmdline(CARVED, "/s", base=f"quiet {wrong}")


@pytest.mark.parametrize("fine", ["memmap=exactmap", "memmap=64M", "memmap=1G!4G", "memmap=4K#1M"])
def test_other_uses_of_memmap_stay(fine: str) -> None:
    assert fine in next_cmdline(CARVED, "/s", base=f"quiet {fine}").cmdline


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
