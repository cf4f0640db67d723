"""Events that were made at run time."""

from __future__ import annotations

from tracekit.kmemory.dynamic import dynamic_events


def test_kprobe_events(debian) -> None:
    assert "".join(dynamic_events(debian.kernel)) == (
        "p:probes/openat do_sys_openat2 dfd=%di:s32 name=+0(%si):ustring flags=+0(%dx):x64\n"
        "r10:probes/openat_ret do_sys_openat2 ret=$retval:s64\n"
    )
    # the others' descriptions are not in the cut dump
    assert debian.kernel.notes.count("dynamic events") == 3
