"""The history as text: every fault of a line is named, and nothing is lost on the way."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.adapters.history_sources import read_files
from optimizer.adapters.history_text import Parsed, lines_of, parse_csv, parse_jsonl, render
from optimizer.errors import SourceError
from optimizer.orders import MemoryMetric
from optimizer.outcome import HistoryRow

ROW = HistoryRow(
    utc_s=1_795_000_000,
    span_s=60.004,
    cpu=0.1 + 0.2,
    cpu_own=5e-324,
    memory=1.0,
    memory_own=0.0,
    cpu_setpoint=0.25,
    cpu_reason="holding",
)
HEAD = "utc_s,span_s,cpu,cpu_own\n"


def read(names: list[str]) -> list[list[HistoryRow]]:
    """The rows of some files that have no faults."""
    found = read_files(names, metric=MemoryMetric.AVAILABLE, count_steal=False, places=())
    assert found.faults == []
    return [list(source) for source in found.sources]


def test_csv_has_a_header_full_precision_and_empty_unknowns() -> None:
    """The columns are an interface: programs of others read them by name."""
    assert render([ROW], "csv") == (
        "utc_s,span_s,cpu,cpu_own,cpu_steal,memory,memory_own,disk,disk_own,"
        "cpu_setpoint,memory_setpoint,disk_setpoint,cpu_reason,memory_reason,disk_reason\n"
        "1795000000,60.004,0.30000000000000004,5e-324,,1.0,0.0,,,0.25,,,holding,,\n"
    )


def test_json_lines_have_null_where_unknown() -> None:
    """One object a line, each with all columns."""
    text = render([ROW, ROW], "jsonl")
    assert text.count("\n") == 2
    assert '"cpu_steal": null' in text


@pytest.mark.parametrize(("kind", "parse"), [("csv", parse_csv), ("jsonl", parse_jsonl)])
def test_what_was_written_is_read(kind: str, parse: Callable[..., Parsed]) -> None:
    """The same numbers, to the last bit."""
    assert parse(lines_of(render([ROW, ROW], kind)), "x") == Parsed([ROW, ROW], [])


def test_columns_may_lack_and_come_in_any_order() -> None:
    """What is not told is unknown; Windows' line ends do no harm."""
    lines = lines_of("cpu_own,cpu, span_s,utc_s\r\n0.1,0.5,60,7\r\n\r\n")
    assert parse_csv(lines, "x") == Parsed(
        [HistoryRow(utc_s=7, span_s=60.0, cpu=0.5, cpu_own=0.1)], []
    )


def test_without_a_column_of_own_load_there_was_none() -> None:
    """0 where the total is known; an empty cell of a column that is there is unknown."""
    text = "utc_s,span_s,cpu,memory,memory_own\n7,60,0.5,0.4,\n8,60,,0.4,0.1\n"
    assert parse_csv(lines_of(text), "x") == Parsed(
        [
            HistoryRow(utc_s=7, span_s=60.0, cpu=0.5, cpu_own=0.0, memory=0.4),
            HistoryRow(utc_s=8, span_s=60.0, memory=0.4, memory_own=0.1),
        ],
        [],
        ("cpu_own",),
    )


@pytest.mark.parametrize("of", ["cpu", "memory", "disk"])
def test_own_load_is_part_of_the_total(of: str) -> None:
    """More than the total, beyond rounding, is a fault; the daemon's own rows are as they are."""
    head = f"utc_s,span_s,{of},{of}_own,{of}_reason\n"
    cells = ("0.3,0.3000009,", "0.3,0.300002,", "0,0.002,no_target", ",0.5,")
    body = "".join(f"{second},60,{cell}\n" for second, cell in enumerate(cells, 1))
    rows, faults, _ = parse_csv(lines_of(head + body), "x.csv")
    assert [row.utc_s for row in rows] == [1, 3, 4]
    assert faults == [
        f"x.csv, line 3: {of}_own 0.300002 is above {of} 0.3: {of} must be the whole load, with "
        "ours"
    ]
    line = f'{{"utc_s": 1, "span_s": 60, "{of}": 0.3, "{of}_own": 0.4}}'
    (fault,) = parse_jsonl([line], "x.jsonl").faults
    assert fault.startswith(f"x.jsonl, line 1: {of}_own 0.4 is above {of} 0.3")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x,60,0.5,", "x.csv, line 2: utc_s 'x' is no whole second"),
        ("1.5,60,0.5,", "utc_s '1.5' is no whole second"),
        ("-1,60,0.5,", "utc_s '-1'"),
        ("99999999999999,60,0.5,", "utc_s '99999999999999'"),
        ("60,0,0.5,", "span_s '0' must be a number of seconds above 0"),
        ("60,nan,0.5,", "span_s 'nan'"),
        ("60,86401,0.5,", "span_s '86401'"),
        ("60,60,1.5,", "cpu '1.5' must be a ratio from 0 to 1"),
        ("60,60,-0.1,", "cpu '-0.1'"),
        ("60,60,nan,", "cpu 'nan'"),
        ("60,60,inf,", "cpu 'inf'"),
        ("60,60,a\x1b[2J,", "cpu 'a\\x1b[2J'"),
        ("60,60", "2 columns where the header has 4; is the line cut off?"),
        ("60,60,0.5,,1", "5 columns where the header has 4"),
    ],
)
def test_a_faulty_line_is_named_and_the_others_are_read(line: str, words: str) -> None:
    """Each fault says file, line, column, value, and what it should be."""
    parsed = parse_csv(lines_of(f"{HEAD}{line}\n120,60,0.5,\n"), "x.csv")
    assert parsed.rows == [HistoryRow(utc_s=120, span_s=60.0, cpu=0.5)]
    (fault,) = parsed.faults
    assert words in fault
    assert fault.startswith("x.csv, line 2: ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "x.jsonl, line 1"),
        ("[1]", "is no JSON object"),
        ('{"utc_s": 60, "span_s": 60, "cpus": 1}', "'cpus' is no column"),
        ('{"utc_s": 60, "span_s": 60, "cpu": true}', "cpu True is neither"),
        ('{"utc_s": 60, "span_s": 60, "cpu": [1]}', "cpu [1] is neither"),
        ('{"utc_s": 60, "span_s": 60, "cpu": 2}', "cpu '2' must be a ratio"),
        ('{"utc_s": 60, "span_s": 60, "cpu_reason": "A B"}', "cpu_reason 'A B' is no reason"),
        ('{"span_s": 60}', "utc_s '' is no whole second"),
        ('{"utc_s": 60}', "span_s '' must be"),
    ],
)
def test_a_faulty_object_is_named(line: str, words: str) -> None:
    """The same for JSON lines."""
    (fault,) = parse_jsonl([line + "\n"], "x.jsonl").faults
    assert words in fault
    assert fault.startswith("x.jsonl, line 1: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n", "line 1: no column utc_s"),
        ("utc_s,cpu\n", "no column span_s"),
        ("utc_s,span_s,cpus\n", "column 'cpus'"),
        ("utc_s,span_s,span_s\n", "column"),
        (f'utc_s,span_s\n"{"x" * 200_000}', "field larger than field limit"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, words: str) -> None:
    """A column that is misspelt would else be lost in silence."""
    with pytest.raises(SourceError, match=words):
        parse_csv(lines_of(text), "x.csv")


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    """A header alone, as an export of a time without rows is: nothing would be imported."""
    file = tmp_path / "x.csv"
    file.write_text(render([], "csv"))
    with pytest.raises(SourceError, match=r"x.csv has no rows; was it written to its end\?"):
        read([str(file)])


def test_files_are_told_apart_by_their_content(tmp_path: Path) -> None:
    """CSV, JSON lines, and either of them compressed, whatever the name."""
    names = []
    for kind in ("csv", "jsonl"):
        for pack in (bytes, gzip.compress):
            names.append(str(tmp_path / f"{len(names)}.dat"))
            Path(names[-1]).write_bytes(pack(render([ROW], kind).encode()))
    assert read(names) == [[ROW]] * 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x7fELF\x00", "is no text"),
        (b"utc_s\xff", "is no text"),
        (b"\xfd7zXZ\x00abc", "unpack it first"),
        (gzip.compress(b"utc_s,span_s\n" * 1000)[:-20], "cut off or damaged"),
        (b"\x1f\x8b" + b"\0" * 40, "x: "),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """The message names the file and what to do."""
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words):
        read([str(path)])


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """A directory, and what is not there."""
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(SourceError, match=str(path)):
            read([str(path)])
