"""A file named inhibit stops the load, whatever is in it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from optimizer.adapters.switch import INHIBIT_NAME, REASON_LIMIT_CHARS, FileSwitch, parse, pause

TIMES = st.floats(min_value=0, max_value=4e9)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
ORDERS = st.dictionaries(
    st.sampled_from(["reason", "by", "until_utc_s", "since_utc_s", "more"]), JSON
)
CONTENTS = (
    st.binary() | st.text().map(str.encode) | (JSON | ORDERS).map(lambda x: json.dumps(x).encode())
)


def ends(content: bytes) -> float | None:
    """The end that a proper order names: an independent and strict reading."""
    try:
        order = json.loads(content)
    except ValueError:
        return None
    if not isinstance(order, dict):
        return None
    until = order.get("until_utc_s")
    if isinstance(until, bool) or not isinstance(until, int | float):
        return None
    return float(until) if abs(until) < 1e308 else None


@given(content=CONTENTS)
@example(content=b'{"until_utc_s": 1e999}')
@example(content=b'{"until_utc_s": -Infinity}')
@example(content=b"[" * 100_000)
def test_any_content_is_an_order(content: bytes) -> None:
    """Never an error; an end only where the content names one; text that fits on a line."""
    order = parse(content)
    if order.until_utc_s is not None:
        assert order.until_utc_s == ends(content)
    for text in (order.reason, order.by):
        assert text
        assert text.isprintable()
        assert len(text) <= REASON_LIMIT_CHARS


@given(content=CONTENTS, now_utc_s=TIMES)
def test_any_file_stops_the_load_unless_it_has_expired(content: bytes, now_utc_s: float) -> None:
    """Read from a real file: no load, except when the content is an order whose end has come."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / INHIBIT_NAME).write_bytes(content)
        if FileSwitch(Path(name)).inhibit(now_utc_s) is None:
            end = ends(content)
            assert end is not None
            assert end <= now_utc_s


@given(
    reason=st.text(),
    by=st.text(),
    until_utc_s=st.none() | TIMES,
    since_utc_s=TIMES,
    now_utc_s=TIMES,
)
def test_what_pause_writes_is_what_the_daemon_reads(
    reason: str, by: str, until_utc_s: float | None, since_utc_s: float, now_utc_s: float
) -> None:
    """Times come through exactly, and the order is in force exactly until its end."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        switch = FileSwitch(directory)
        pause(directory, until_utc_s=until_utc_s, reason=reason, by=by, now_utc_s=since_utc_s)
        order = switch.inhibit(now_utc_s)
        assert (order is None) == (until_utc_s is not None and until_utc_s <= now_utc_s)
        if order is not None:
            assert order.until_utc_s == until_utc_s
            assert order.since_utc_s == since_utc_s
