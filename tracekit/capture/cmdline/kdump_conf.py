"""What a system's kdump is configured to do: Debian's kdump-tools, Fedora's kdump.

``/etc/default/kdump-tools`` is a shell's file, read by ``kdump-config``; ``/etc/kdump.conf`` has an
option a line (kdump.conf(5)).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.sysroot import Sysroot

__all__ = ["DEBIAN", "FEDORA", "USER_DATA", "Collector", "collectors"]

DEBIAN = "etc/default/kdump-tools"
FEDORA = "etc/kdump.conf"
USER_DATA = 8  #: of makedumpfile's dump level: leave out pages of processes' data
_DEFAULT = 31  # kdump-config's and kdump.sh's own
_DEBIAN_ARGS = re.compile(r"^[ \t]*(?:export[ \t]+)?MAKEDUMP_ARGS=(.*)$", re.M)
_FEDORA_ARGS = re.compile(r"^[ \t]*core_collector[ \t]+(\S.*)$", re.M)
_LEVEL = re.compile(r"(?:^|\s)-\w*d\s*(\d{1,3}(?:,\d{1,3})*)(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Collector:
    """How dumps are written.

    ``level`` is makedumpfile's dump level, None where something else copies the memory; ``line`` is
    what to write into ``file`` so that nothing is lost.
    """

    file: str
    level: int | None
    line: str


def _level(arguments: str) -> int:
    """The level of a command line of makedumpfile; of several the first, which is tried first."""
    found = _LEVEL.findall(arguments)
    return int(found[-1].split(",")[0]) if found else 0


def _text(root: Sysroot, rel: str) -> str | None:
    try:
        data = root.get(rel)
    except SourceError:
        return None
    return None if data is None else data.decode("utf-8", "replace")


def collectors(root: Sysroot) -> Iterator[Collector]:
    """How each kdump that is installed writes its dumps; none where none can be read."""
    if (text := _text(root, DEBIAN)) is not None:
        given = _DEBIAN_ARGS.findall(text)
        arguments = given[-1].strip().strip("\"'") if given else ""
        level = _level(arguments) if arguments else _DEFAULT
        yield Collector(DEBIAN, level, 'MAKEDUMP_ARGS="-c -d 23"')
    if (text := _text(root, FEDORA)) is not None:
        given = _FEDORA_ARGS.findall(text)
        command = given[-1] if given else ""
        known = _level(command) if "makedumpfile" in command else None
        yield Collector(
            FEDORA, known if command else _DEFAULT,
            "core_collector makedumpfile -l --message-level 7 -d 23",
        )  # fmt: skip
