"""A session in which every text tries to steer the terminal that it is shown on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from tests.support.sessions.loose import loosen

__all__ = ["EVIL", "leaks", "make_hostile"]

#: Sets the title of the window, changes colours with one C1 character, turns the text round.
EVIL = "\x1b]0;PWN\x07\x9b31m\u202e"
_RAW = (b"\x1b]", b"\x07", "\x9b".encode(), "\u202e".encode(), b"\x1b[31mPWN")
_NEEDED = re.compile(r"sched_switch|initcall|handover|kexec|reboot|sched_process")


def leaks(output: bytes | str) -> list[bytes]:
    """What of it has reached an output."""
    data = output.encode("utf-8", "surrogatepass") if isinstance(output, str) else output
    return [mark for mark in _RAW if mark in data]


def _strings(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {k: _strings(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_strings(v, key) for v in value]
    keep = ("boot_id", "sha256", "header", "read_in", "clock", "trace_clock", "severity")
    return f"{value}{EVIL}" if isinstance(value, str) and key not in keep else value


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file, compressed or not, where it is there."""
    packed = path.with_name(f"{path.name}.zst")
    if packed.exists():
        data = zstandard.ZstdDecompressor().decompress(packed.read_bytes(), 1 << 27)
        packed.write_bytes(zstandard.ZstdCompressor().compress(change(data)))
    elif path.exists():
        path.write_bytes(change(path.read_bytes()))


def _lines(data: bytes, ending: str = EVIL) -> bytes:
    return b"".join(line + ending.encode() + b"\n" for line in data.splitlines())


def _symbols(data: bytes) -> bytes:
    """Those that say where the kernel lies keep their names."""
    lines = data.decode().splitlines()
    kept = re.compile(r" _(stext|text|etext|end|sinittext|einittext)$")
    return "".join(f"{n}\n" if kept.search(n) else f"{n}\x9b31m\u202e\n" for n in lines).encode()


def _formats(events: Path) -> None:
    for file in sorted(events.glob("*/*/format")):
        text = file.read_text().replace('print fmt: "', f'print fmt: "{EVIL}')
        if not _NEEDED.search(str(file)):
            text = re.sub(r"(field:[^;\[]*)", rf"\g<1>{EVIL}", text)
            file.write_text(text)
            file.parent.rename(file.parent.with_name(f"{file.parent.name}{EVIL}"))
        else:
            file.write_text(text)


def _boot(boot: Path) -> None:
    for file in boot.rglob("*.json"):
        if file.name != "clocks.json":
            _change(file, lambda data: json.dumps(_strings(json.loads(data))).encode())
    tracefs = boot / "tracefs"
    for name in ("saved_cmdlines", "kprobe_events", "saved_tgids", "available_tracers"):
        _change(tracefs / name, _lines)
    for name in ("dmesg", "modules", "iomem", "cpuinfo"):
        _change(boot / name, _lines)
    for file in (*tracefs.rglob("current_tracer"), *tracefs.rglob("last_boot_info")):
        _change(file, _lines)
    _change(tracefs / "printk_formats", lambda d: d.replace(b' : "', b' : "' + EVIL.encode()))
    _change(boot / "kallsyms", _symbols)
    _formats(tracefs / "events")
    for file in (*boot.rglob("*.raw.zst"), *boot.rglob("trace_pipe_raw.zst")):
        _change(file.with_suffix(""), lambda data: data.replace(b"kworker", b"\x1b]0;P\x07"))
    for file in (boot / "kho").rglob("*"):
        if file.is_file():
            _change(file, lambda data: data.replace(b"kexec-", b"\x1b]0;P\x07"))
    for file in list((boot / "regions").iterdir()):
        name, dot, end = file.name.partition(".")
        file.rename(file.with_name(f"{name}{EVIL}{dot}{end}"))
    units = [{"name": f"a{EVIL}.service", "active": EVIL, "stamps": {EVIL: 1}}]
    document = {"manager": {"UserspaceTimestampMonotonic": 1, EVIL: 2}, "units": units}
    (boot / "systemd.json").write_text(json.dumps(document))


def make_hostile(session: Path) -> Path:
    """Change a session (a copy) of two boots so that all its texts are hostile."""
    for boot in (loosen(session) / "boots").iterdir():
        _boot(boot)
    document = json.loads((session / "manifest.json").read_text())
    document["tool_version"] = EVIL
    document["files"][f"boots/0/{EVIL}"] = EVIL
    remarks = [("code", EVIL), ("where", EVIL), ("message", EVIL)]
    plain = {"boot": 0, "severity": "error", "code": "c", "where": "w", "message": "m"}
    document["diagnostics"] += [{**plain, key: f"{text}\nrecord complete"} for key, text in remarks]
    (session / "manifest.json").write_text(json.dumps(document))
    (session / f"{EVIL}.part").write_text("left")
    bookmark = {"boot": 0, "cpu": 0, "ts_raw": 1, "ts_ns": 0, "note": EVIL}
    notes = {"bookmarks": [bookmark], "filters": {EVIL: f"comm = '{EVIL}'"}}
    (session / "notes.json").write_text(json.dumps(notes))
    return session
