"""Filter expressions: reading them, and what they find against a plain loop over the rows."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import UsageError
from tracekit.query.expr import (
    AllOf,
    AnyOf,
    Calc,
    Compare,
    Contains,
    Expr,
    Not,
    QueryError,
    Value,
    column_of,
    parse,
    parse_number,
)
from tracekit.query.groups import Index
from tracekit.query.match import Names, matches, read
from tracekit.query.scan import Hits, candidates, scan
from tracekit.query.selection import Selection
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter

# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", ""),
        ("cpu=0", "cpu = 0"),
        ("cpu == 0x1F and pid>-3", "cpu = 0x1F and pid > -3"),
        ("a = 1 or b = 2 and c = 3", "a = 1 or (b = 2 and c = 3)"),
        ("NOT (a = 1 OR kexec)", "not (a = 1 or kexec)"),
        ("comm = <idle>", "comm = <idle>"),
        ("comm in (a,'b c', \"d\\\"e\")", 'comm in (a, "b c", "d\\"e")'),
        ("cpu not in()", "cpu not in ()"),
        ("filename ~ /bin/* or x !~ /^a b\\/(c|d)/", 'filename ~ "/bin/*" or x !~ /^a b\\/(c|d)/'),
        ("duration_ns > 1.5ms", "duration_ns > 1.5ms"),
        ('comm = "12"', 'comm = "12"'),
        ('"and" and "two words"', '"and" and "two words"'),
    ],
)  # fmt: skip
def test_an_expression_is_read_and_printed(text: str, printed: str) -> None:
    expr = parse(text)
    assert str(expr) == printed
    assert parse(printed) == expr


@pytest.mark.parametrize(
    ("text", "start", "what"),
    [
        ("cpu = ", 6, "expected a value; found the end"),
        ("cpu = 0 pid = 1", 8, "'pid' is not expected here"),
        ("(cpu = 0", 8, "expected ')'"),
        ("cpu = 0)", 7, "closes nothing"),
        ("and", 0, "found 'and'"),
        ('x = "abc', 4, "nothing closes"),
        ("pid > abc", 6, "compares numbers; found 'abc'"),
        ("pid > 2026-11-28", 6, "compares numbers; found '2026-11-28'"),
        ("cpu in 3", 7, "expected '('"),
        ("cpu in (1 2)", 10, "expected ',' or ')'"),
        ("cpu not 3", 8, "expected 'in' after 'cpu not'"),
        ("(" * 1000, 40, "inside one another"),
        ("not " * 1000, 4000, "inside one another"),
        ("x" * 20_000, 0, "at most 10,000 characters"),
    ],
)
def test_what_makes_no_sense_is_pointed_at(text: str, start: int, what: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert isinstance(raised.value, QueryError)
    assert what in raised.value.what
    assert raised.value.start == start
    said, shown, caret = str(raised.value).split("\n")
    assert what in said
    assert shown == f"  {text}"
    assert caret.index("^") == start + 2


@pytest.mark.parametrize(
    ("text", "start", "what"),
    [
        ("cpu = 0 and prev_com = kexec", 12, "did you mean prev_comm?"),
        ("evnt = sched_switch", 0, "did you mean event?"),
        ("zzzzzzzz = 1", 0, "no column or argument 'zzzzzzzz'"),
        ("args.prev_com = 1", 0, "did you mean prev_comm?"),
        ("cpu = one", 6, "cpu is a number; found 'one'"),
        ("cpu = 2026-11-28", 6, "cpu is a number; found '2026-11-28'"),
        ("ts = yesterday", 5, "ts is a time: -5ms, or a date; found 'yesterday'"),
        ("cpu ~ 1*", 0, "cpu is a number"),
        ("comm > 5", 0, "comm is a text"),
        ("comm ~ /(/", 7, "missing )"),
        ("comm ~ /\udcff/", 7, "no character"),
        ("comm ~ /\x1b)/", 7, "\\x1b)"),
    ],
)
def test_names_and_types_are_checked(text: str, start: int, what: str, names: Names) -> None:
    with pytest.raises(QueryError) as raised:
        read(text, names)
    assert what in str(raised.value)
    assert raised.value.start == start


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), ("-5ms", -5_000_000), ("0x10", 16), ("1.5us", 1500), ("2s", 2 * 10**9), ("+3", 3),
     ("1.5", None), ("", None), ("s", None), ("0x", None), ("-", None), ("٣", None), ("1e3", None)],
)  # fmt: skip
def test_numbers(text: str, number: int | None) -> None:
    assert parse_number(text) == number


_pieces = st.sampled_from(
    ["cpu", "=", "!=", "~", "<", "(", ")", "and", "or", "not", "in", ",", "/a/", '"', "'", "x y",
     "-5ms", "0x1f", "\\", " ", "\x1b[2J", "\n", "é"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(_pieces, max_size=20).map(" ".join)))
def test_any_text_is_an_expression_or_a_usage_error(text: str) -> None:
    try:
        expr = parse(text)
    except QueryError as error:
        assert 0 <= error.start <= len(text)
        assert len(str(error).split("\n")) == 3
        assert "\x1b" not in str(error).split("\n", 1)[1]
    else:
        assert parse(str(expr)) == expr


_names = st.from_regex(r"[a-z_]{1,8}(\.[a-z]{1,4})?", fullmatch=True).filter(
    lambda name: name not in {"and", "or", "not", "in"}
)
_texts = st.text(max_size=8)
_values = st.one_of(st.integers(-(10**12), 10**12).map(Value.of), _texts.map(Value.of))
_terms = st.one_of(
    st.builds(
        lambda name, op, value: Compare(name, op, (value,)),
        _names, st.sampled_from(["=", "!=", "~", "!~"]), _values,
    ),
    st.builds(
        lambda name, op, n: Compare(name, op, (Value.of(n),)),
        _names, st.sampled_from(["<", "<=", ">", ">="]), st.integers(-5, 5),
    ),
    st.builds(
        lambda name, op, values: Compare(name, op, tuple(values)),
        _names, st.sampled_from(["in", "not in"]), st.lists(_values, max_size=3),
    ),
    _texts.map(Contains),
)  # fmt: skip
_exprs = st.recursive(
    _terms,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda t: AllOf(tuple(t))),
        st.lists(inner, min_size=2, max_size=3).map(lambda t: AnyOf(tuple(t))),
    ),
    max_leaves=6,
)


@given(_exprs)
def test_a_printed_expression_reads_the_same(expr: Expr) -> None:
    assert parse(str(expr)) == expr


# -- evaluating -----------------------------------------------------------------------------------


def _printed(row: dict[str, Any], name: str) -> str:
    m = re.search(rf"(?:^|[\s,]){re.escape(name)}[=:]\s*([^\s,]+)", row["args"])
    return m[1] if m else ""


def _numbers(compare: Compare, number: int) -> bool:
    values = [v.number for v in compare.values if v.number is not None]
    match compare.op:
        case "=" | "!=" | "in" | "not in":
            return number in values
        case "<":
            return number < values[0]
        case "<=":
            return number <= values[0]
        case ">":
            return number > values[0]
        case ">=":
            return number >= values[0]
    return False


def _texts_are(compare: Compare, text: str) -> bool:
    if "~" not in compare.op:
        return text in {v.text for v in compare.values}
    value = compare.values[0]
    if value.is_regex:
        return re.search(value.text, text) is not None
    return fnmatchcase(text, value.text)


def _plainly(expr: Expr, row: dict[str, Any]) -> bool:
    """Whether a row meets an expression, said as simply as can be."""
    if isinstance(expr, AllOf):
        return all(_plainly(term, row) for term in expr.terms)
    if isinstance(expr, AnyOf):
        return any(_plainly(term, row) for term in expr.terms)
    if isinstance(expr, Not):
        return not _plainly(expr.term, row)
    assert not isinstance(expr, Calc)
    if isinstance(expr, Contains):
        texts = (row["comm"] or "", row["event"], row["args"])
        return any(expr.text.lower() in text.lower() for text in texts)
    negated = expr.op in {"!=", "!~", "not in"}
    column = column_of(expr.name)
    if column in {"ts", "raw"}:
        return _numbers(expr, row[{"ts": "ts_ns", "raw": "ts_raw"}[column]]) != negated
    if column in {"boot", "cpu", "pid", "flags", "preempt"}:
        return _numbers(expr, row[column]) != negated
    if column is not None:
        system, _, short = row["event"].partition(":")
        texts = {"event": [row["event"], short], "system": [system], "comm": [row["comm"] or ""],
                 "source": [row["source"]], "args": [row["args"]]}[column]  # fmt: skip
        return any(_texts_are(expr, text) for text in texts) != negated
    name = expr.name.removeprefix("args.")
    value = row["fields"].get(name)
    if value is None:
        return False
    if isinstance(value, str):
        return expr.op[0] not in "<>" and _texts_are(expr, value) != negated
    hit = isinstance(value, int) and _numbers(expr, int(value))
    word = _printed(row, name)
    asks_words = "~" in expr.op or any(v.number is None for v in expr.values)
    if asks_words:
        named = tuple(v for v in expr.values if v.number is None or "~" in expr.op)
        hit = hit or _texts_are(Compare(name, expr.op, named), word)
    if negated:
        return not hit and not (asks_words and not word)
    return hit


EXPRESSIONS = [
    "cpu = 0", "cpu != 1", "cpu in (1, 2)", "cpu not in ()", "boot = 1 and cpu = 0", "pid > 70",
    "ts >= -5ms and ts < 0", "ts = 0", "raw > 0", "flags = 1 or preempt != 0", "preempt <= 1",
    "event = sched_switch", "event = sched:sched_switch", "event != sched_switch", "event ~ irq*",
    "event !~ *:sched_*", "system = kexec", "source = bpf", "source != bpf",
    "event in (reboot, load)",
    "comm = kexec", "comm != kexec", "task ~ kwork*", "comm ~ /^(k|p).*[0-9]$/", "comm = <idle>",
    "prev_comm = kexec", "prev_comm != kexec", "prev_comm ~ *python*", "prev_comm !~ *python*",
    "prev_pid = 76", "prev_pid > 70 and next_pid < 10", "not prev_pid = 0", "prev_pid in (0, 76)",
    "prev_state = D", "prev_state != D", "prev_state = 2", "prev_state in (1, D)",
    "func ~ con_init*", "ret = handled", "ret = 0", "ret = -1", "duration_ns > 1ms",
    "function = platform_shutdown", "group_dead = false", "group_dead = 1", "args.pid = 78",
    "args.comm = python3", "name = virtio1", "name > 3", "bus_master = -1", "bus_master >= 0",
    "func > 0x7fffffffffffffff", "func > -1", "func < -1", "seq < 99999999999999",
    "args ~ *python3*", "args !~ *=*", 'args = ""', "args ~ /ret=(0|-[0-9]+)$/",
    "shutdown", "KEXEC", "not sched", "virtio and cpu = 0", '"prev_comm=kexec"', "",
    "event ~ sched_* and prev_comm = kexec and cpu = 0", "cpu = 1 or virtio or prev_pid = 76",
    "not (cpu = 1 or (event = irq_handler_exit and ret = handled)) and ts > 0",
]  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_finds_what_a_plain_loop_finds(
    text: str, recording: Recording, names: Names, rows: list[dict[str, Any]], index: Index
) -> None:
    expr = read(text, names)
    plainly = [i for i, row in enumerate(rows) if _plainly(expr, row)]
    everything = np.arange(len(recording))
    assert np.flatnonzero(matches(recording, expr, everything)).tolist() == plainly
    if text:
        assert recording.select(Filter(where=text)).tolist() == plainly
    hits = Hits()
    for found in scan(recording, expr, index, Selection(len(recording))):
        hits.add(found.rows)
    assert hits.rows().tolist() == plainly


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_of_no_rows_none_is_found(
    text: str, recording: Recording, names: Names, index: Index
) -> None:
    expr = read(text, names)
    assert matches(recording, expr, np.arange(0)).tolist() == []
    nothing = Selection(len(recording), np.empty(0, np.uint32))
    assert [f for f in scan(recording, expr, index, nothing, 7) if len(f.rows)] == []


def test_most_of_the_expressions_find_something(recording: Recording, names: Names) -> None:
    """What finds nothing, or all, tests little."""
    at = np.arange(len(recording))
    found = [int(matches(recording, read(text, names), at).sum()) for text in EXPRESSIONS]
    assert sum(0 < n < len(recording) for n in found) > len(EXPRESSIONS) * 3 // 4


_CONDITIONS = [text for text in EXPRESSIONS if text]


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from(_CONDITIONS), min_size=1, max_size=3),
    st.sampled_from([" and ", " or "]),
    st.integers(0, 20_137),
    st.integers(1, 50),
)
def test_a_scan_finds_the_same_wherever_it_begins(
    recording: Recording, names: Names, index: Index, parts: list[str], word: str, start: int,
    every: int,
) -> None:  # fmt: skip
    expr = read(word.join(f"({part})" for part in parts), names)
    within = Selection(len(recording), np.arange(0, len(recording), every, dtype=np.uint32))
    hits, done, order = Hits(start), 0, []
    for found in scan(recording, expr, index, within, start):
        assert done < found.done <= found.total
        done = found.done
        hits.add(found.rows)
        order += found.rows.tolist()
    assert within.rows is not None
    wanted = within.rows[matches(recording, expr, within.rows.astype(np.int64))].tolist()
    assert hits.rows().tolist() == wanted
    assert len(hits) == len(wanted)
    assert order == [r for r in wanted if r >= start] + [r for r in wanted if r < start]


@pytest.mark.parametrize(
    "text",
    ["event = sched_process_exec", "event = irq_handler_exit and cpu = 0", "ts > 0 and cpu = 1",
     "event ~ kexec:* and comm ~ *", "cpu = 7", "event in ()", "ts > 99999s"],
)  # fmt: skip
def test_what_pins_an_event_a_cpu_or_a_time_is_not_looked_for_elsewhere(
    text: str, recording: Recording, names: Names, index: Index
) -> None:
    expr = read(text, names)
    at = candidates(recording, expr, index, Selection(len(recording)))
    rows = np.arange(len(recording))[at]
    assert len(rows) < len(recording) * 3 // 4
    found = np.flatnonzero(matches(recording, expr, np.arange(len(recording))))
    assert np.isin(found, rows).all()


def test_hostile_regular_expressions_take_no_time(recording: Recording, names: Names) -> None:
    """Python's own would take years for one name."""
    expr = read(r"args ~ /^(([a-z0-9_]+)*=?)+$/ or args ~ *a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", names)
    assert matches(recording, expr, np.arange(len(recording))).sum() < len(recording)
