"""Composes the next kernel's command line, so that its boot continues the recording.

Two regions take turns (ping-pong): the next kernel's trace instance gets the one that this boot
does not record in, so nothing touches this boot's record before it is recovered. Both kernels must
name the same regions with the same sizes: that is how ``reserve_mem=`` finds them again
(``reserve_mem()`` in ``mm/memblock.c``). With a carve-out the regions are its halves, and every
kernel needs its ``memmap=``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tracekit.capture.cmdline.carried import (
    carried_words,
    check_memmaps,
    free_half,
    size_text,
    still_kept,
)
from tracekit.capture.cmdline.luo_probes import luo_probes
from tracekit.carriers.carve_out import halves
from tracekit.carriers.choice import carrier_of
from tracekit.carriers.memory_use import Memory
from tracekit.errors import UsageError
from tracekit.frozen import dataclass
from tracekit.parameters import (
    CommandLine,
    RegionSpec,
    ReserveMem,
    TraceInstance,
    parse_cmdline,
)

__all__ = [
    "BOOT_EVENTS",
    "MAX_CMDLINE",
    "SESSION_PARAMETER",
    "NextBoot",
    "next_cmdline",
    "preserved_instance",
]

SESSION_PARAMETER = "tracekit.session"
#: What the next kernel records from its first initcall on, in its global buffer.
BOOT_EVENTS = ("initcall:*", "sched:sched_process_exec")
#: Bytes, with the NUL: COMMAND_LINE_SIZE of x86 and arm64 (``asm/setup.h``).
MAX_CMDLINE = 2048

_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_OURS = ("trace_instance", "trace_clock", "trace_event", SESSION_PARAMETER)
_LOADERS = ("BOOT_IMAGE", "initrd")  # added by boot loaders: what they loaded


@dataclass(frozen=True, slots=True)
class NextBoot:
    """The next kernel's command line and the region that its ``instance`` records in.

    ``region`` is None where no second region is reserved: the next kernel then records in its
    global buffer only. ``warnings`` say what will be missing and how to fix it.
    """

    cmdline: str
    instance: str
    region: str | None
    warnings: tuple[str, ...] = ()


def _words(text: str) -> tuple[list[str], list[str]]:
    """Split into (the kernel's parameters, quotes kept; ``--`` and everything after it)."""
    words = _WORD.findall(text)
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end:]


def _name(word: str) -> str:
    return word.strip('"').partition("=")[0].replace("-", "_")


def _kept(words: Iterable[str], instance: str, carved: bool) -> Iterator[str]:
    """The parameters to keep: neither ours nor those that a boot loader adds."""
    ours = {name.replace("-", "_") for name in (*_OURS, *(() if carved else ("kho",)))}
    for word in words:
        name = _name(word)
        if name == "trace_instance":
            value = word.strip('"').partition("=")[2]
            instances = parse_cmdline(f"trace_instance={value}").instances
            if not instances or instances[0].name != instance:
                yield word
        elif name not in ours and name not in _LOADERS:
            yield word


def _backup(word: str) -> tuple[str, str] | None:
    """(instance, whose copy it is) of ``trace_instance=NAME=OTHER``, None for any other word."""
    if _name(word) != "trace_instance":
        return None
    instances = parse_cmdline(word).instances
    return (instances[0].name, instances[0].backup) if instances and instances[0].backup else None


def _with_backups(
    kept: Sequence[str], ours: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    """(words to keep, backup instances to put behind ``ours``, those that have lost their source).

    A backup copies an instance that was made before it (``enable_instances()``).
    """
    plain = [word for word in kept if _backup(word) is None]
    made = {i.name for i in parse_cmdline(" ".join((*plain, *ours))).instances}
    backups: list[str] = []
    orphans: list[str] = []
    for word in kept:
        if (copy := _backup(word)) is None:
            continue
        if copy[1] in made:
            made.add(copy[0])
            backups.append(word)
        else:
            orphans.append(word)
    return plain, backups, orphans


def _other_region(
    command: CommandLine, memories: Sequence[Memory], current: TraceInstance | None
) -> ReserveMem | None:
    """The region for the next kernel: nobody's, and closest in size to the current one."""
    size = next((m.size for m in command.reserve_mem if current and m.name == current.region), 0)
    free = [
        m for m in command.reserve_mem if all(k.use_of(m.name).kind == "free" for k in memories)
    ]
    return min(free, key=lambda m: abs(m.size - size), default=None)


def _no_other(command: CommandLine, memories: Sequence[Memory], carved: bool) -> str:
    if carved:
        return (
            "the carve-out has no second half that is free, so the next kernel has none to record "
            "its own way out in: make it twice as large ('tracekit setup --carrier carveout')"
        )
    uses = {m.name: [k.use_of(m.name) for k in memories] for m in command.reserve_mem}
    taken = {name: [use.who for use in found if use.foreign] for name, found in uses.items()}
    others = ", ".join(f"{name} is used by {who[0]}" for name, who in taken.items() if who)
    return (
        f"no second region is reserved for tracing{f' ({others})' if others else ''}, so the next "
        "kernel has none to record its own way out in: add one more reserve_mem= to this kernel's "
        "command line ('tracekit setup')"
    )


def _quoted(name: str, value: str) -> str:
    if '"' in value or not value.isprintable():
        raise UsageError(f"{name}={value!r}: a kernel parameter holds no quotes or line ends")
    return f'{name}="{value}"' if " " in value else f"{name}={value}"


def _check_length(cmdline: str) -> None:
    if (size := len(cmdline.encode())) >= MAX_CMDLINE:
        raise UsageError(
            f"the next kernel's command line would have {size} bytes, and no more than "
            f"{MAX_CMDLINE - 1} are read: shorten it with --append, which replaces the rest"
        )


def next_cmdline(
    current: str,
    session: str | None,
    *,
    base: str | None = None,
    instance: str | None = None,
    carrier: str | None = None,
    clock: str = "x86-tsc",
    events: Sequence[str] = BOOT_EVENTS,
    memory: Memory | None = None,
) -> NextBoot:
    """The command line for the kernel that follows the one booted with ``current``.

    ``base`` is the next kernel's command line without tracekit's parameters (default: this
    kernel's); ``instance`` the trace instance recorded in (default: the first in preserved memory),
    ``carrier`` the kind of that memory;
    ``session`` an absolute path, for the new kernel's ``tracekit recover``; ``clock`` the trace
    clock of the recording; ``memory`` says who uses which region now (default: what ``current``
    says of it). Raises :class:`~tracekit.errors.UsageError` for a value that cannot be
    written on a command line.
    """
    command = parse_cmdline(current)
    mine = preserved_instance(command, instance, carrier)
    carved = mine is not None and mine.address is not None
    name = mine.name if mine else instance or "tk"
    text = current if base is None else base
    if text.count('"') % 2 or any(c < " " for c in text.strip()):
        raise UsageError(f"{text[:80]!r}: an open quote or a line end in a kernel's command line")
    words, init = _words(text)
    kept = list(_kept(words, name, carved))
    memories = (memory or Memory.of(current), Memory.of(" ".join(kept)))
    warnings: list[str] = []
    if mine is not None and mine.address is not None:
        added, region = _on_carve_out(command, kept, memories, mine)
    else:
        added, region = _on_reserved(command, kept, memories, mine)
    if region is None:
        warnings.append(_no_other(command, memories, carved))
    else:
        place = region.name
        if carved:
            place = f"{region.address:#x}:{size_text(region.size)}"
        flags = dict.fromkeys((*(mine.flags if mine else ()), "traceoff"))
        added.append(f"trace_instance={name}{''.join(f'^{flag}' for flag in flags)}@{place}")
    kept, backups, orphans = _with_backups(kept, added)
    added += backups
    if orphans:
        warnings.append(
            f"{' '.join(orphans)} is left out: the next kernel makes no instance that it could copy"
        )
    if clock != "local":
        added.append(f"trace_clock={clock}")
    own = parse_cmdline(" ".join(words)).trace_event
    added.append(_quoted("trace_event", ",".join(dict.fromkeys((*own, *events)))))
    if session is not None:
        added.append(_quoted(SESSION_PARAMETER, session))
    added += luo_probes(map(_name, kept), MAX_CMDLINE - len(" ".join([*kept, *added, *init])))
    cmdline = " ".join([*kept, *added, *init])
    _check_length(cmdline)
    check_memmaps(cmdline, sum(size for _, size in halves(command)))
    if carved and mine is not None:
        _check_kept(command, parse_cmdline(cmdline), mine)
    return NextBoot(cmdline, name, region.name if region else None, tuple(warnings))


def _check_kept(command: CommandLine, following: CommandLine, mine: TraceInstance) -> None:
    gone = still_kept(command, following, mine)
    if gone is not None:
        raise UsageError(
            f"the next kernel's command line has no memmap= for {size_text(gone[1])} at "
            f"{gone[0]:#x}, which this kernel's keeps: the record would be overwritten. Leave "
            "memmap= out of --append, then it is carried on"
        )


def preserved_instance(
    command: CommandLine, name: str | None = None, carrier: str | None = None
) -> TraceInstance | None:
    """The first instance on preserved memory, of this ``name``, on this ``carrier``."""
    for instance in command.instances:
        preserved = instance.region is not None or instance.address is not None
        if preserved and name in (None, instance.name) and carrier in (None, carrier_of(instance)):
            return instance
    return None


def _on_reserved(
    command: CommandLine,
    kept: Sequence[str],
    memories: Sequence[Memory],
    mine: TraceInstance | None,
) -> tuple[list[str], RegionSpec | None]:
    """(parameters that ``reserve_mem=`` regions need, the region for the next kernel)."""
    present = {m.name for m in parse_cmdline(" ".join(kept)).reserve_mem}
    added = ["kho=on"]
    added += [w for reserved, w in _reservations(command.text) if reserved.name not in present]
    other = _other_region(command, memories, mine)
    return added, RegionSpec(other.name, 0, other.size) if other else None


def _on_carve_out(
    command: CommandLine, kept: Sequence[str], memories: Sequence[Memory], mine: TraceInstance
) -> tuple[list[str], RegionSpec | None]:
    """(parameters that a carve-out needs, the half for the next kernel)."""
    return list(carried_words(command, kept, mine)), free_half(command, memories, mine)


def _reservations(text: str) -> Iterator[tuple[ReserveMem, str]]:
    """Every ``reserve_mem=`` the kernel accepts, with its text."""
    for word in _words(text)[0]:
        if _name(word) == "reserve_mem" and (reserved := parse_cmdline(word).reserve_mem):
            yield reserved[0], word
