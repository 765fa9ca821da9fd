"""The line protocol: exactly the agreed form is a lease, anything else is none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stressers.lease import (
    MAX_BYTES,
    MAX_LINE_BYTES,
    MAX_TTL_S,
    RENEW_S,
    TTL_S,
    Lease,
    LeaseError,
    LineBuffer,
    Standing,
    decode,
    encode,
)


@pytest.mark.parametrize(
    ("kind", "line", "value", "ttl_s"),
    [
        ("cpu", b'{"duty": 0.18, "ttl_s": 3.0}', 0.18, 3.0),
        ("cpu", b'{"ttl_s": 60, "duty": 1}', 1.0, 60.0),
        ("cpu", b'{"duty": 0, "ttl_s": 0.001}', 0.0, 0.001),
        ("memory", b'{"bytes": 4294967296, "ttl_s": 3.0}', 4294967296, 3.0),
        ("disk", b' {"bytes":0,"ttl_s":3} ', 0, 3.0),
    ],
)
def test_the_agreed_form_is_a_lease(kind: str, line: bytes, value: float, ttl_s: float) -> None:
    """Numbers at and inside the limits are taken as written."""
    lease = decode(kind, line)
    assert (lease.value, lease.ttl_s) == (value, ttl_s)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"0.5",
        b"{",
        b'{"duty": 0.5}',
        b'{"ttl_s": 3.0}',
        b'{"bytes": 1, "ttl_s": 3.0}',
        b'{"duty": 0.5, "ttl_s": 3.0, "more": 1}',
        b'{"duty": "0.5", "ttl_s": 3.0}',
        b'{"duty": true, "ttl_s": 3.0}',
        b'{"duty": null, "ttl_s": 3.0}',
        b'{"duty": NaN, "ttl_s": 3.0}',
        b'{"duty": Infinity, "ttl_s": 3.0}',
        b'{"duty": -0.1, "ttl_s": 3.0}',
        b'{"duty": 1.01, "ttl_s": 3.0}',
        b'{"duty": 0.5, "ttl_s": 0}',
        b'{"duty": 0.5, "ttl_s": -1}',
        b'{"duty": 0.5, "ttl_s": 60.1}',
        b'{"duty": 0.5, "ttl_s": NaN}',
        b'{"duty": 0.5, "ttl_s": true}',
        b'{"duty": 0.5, "ttl_s": "3"}',
        b'\xff\xfe{"duty": 0.5, "ttl_s": 3.0}',
        b"[" * MAX_LINE_BYTES,
        b" " * MAX_LINE_BYTES + b'{"duty": 0.5, "ttl_s": 3.0}',
    ],
)
def test_a_broken_cpu_line_is_no_lease(line: bytes) -> None:
    """Bad JSON, wrong types, out of range, too long, too much or too little: no lease."""
    with pytest.raises(LeaseError):
        decode("cpu", line)


@pytest.mark.parametrize(
    "amount", [b"1.5", b"1e9", b"-1", b"true", b"%d" % (MAX_BYTES + 1), b'"1"']
)
def test_a_broken_size_is_no_lease(amount: bytes) -> None:
    """Bytes are whole numbers that a double can hold."""
    with pytest.raises(LeaseError):
        decode("memory", b'{"bytes": %s, "ttl_s": 3.0}' % amount)


@given(st.sampled_from(["cpu", "memory", "disk"]), st.binary(max_size=2 * MAX_LINE_BYTES))
def test_no_bytes_whatever_raise_anything_but_a_lease_error(kind: str, line: bytes) -> None:
    """Any input either is a lease within its limits or raises LeaseError."""
    try:
        lease = decode(kind, line)
    except LeaseError:
        return
    assert 0 <= lease.value <= (1 if kind == "cpu" else MAX_BYTES)
    assert 0 < lease.ttl_s <= MAX_TTL_S


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@given(JSON, JSON)
def test_no_json_value_raises_load_beyond_the_limits(value: object, ttl_s: object) -> None:
    """Whatever stands in the two fields, a lease that is accepted is within its limits."""
    import json  # noqa: PLC0415  # only to write what the program reads

    try:
        lease = decode("cpu", json.dumps({"duty": value, "ttl_s": ttl_s}).encode())
    except LeaseError:
        return
    assert 0 <= lease.value <= 1
    assert 0 < lease.ttl_s <= MAX_TTL_S


@given(st.floats(), st.sampled_from(["cpu", "memory", "disk"]))
def test_what_is_encoded_is_decoded_and_never_more(value: float, kind: str) -> None:
    """encode() cuts into range, and what is not a number leases nothing."""
    lease = decode(kind, encode(kind, value).rstrip(b"\n"))
    most = 1.0 if kind == "cpu" else MAX_BYTES
    expected = 0.0 if math.isnan(value) else min(max(value, 0.0), most)
    assert lease.value == (expected if kind == "cpu" else int(expected))
    assert lease.ttl_s == TTL_S


def test_a_lease_survives_one_lost_renewal() -> None:
    """Renewals come often enough that a single one may be missed."""
    assert 2 * RENEW_S < TTL_S


def test_nothing_is_leased_before_the_first_and_after_the_last_lease() -> None:
    """A standing lease counts from its arrival to its end, and not at its end."""
    standing = Standing(110.0)
    assert standing.value(100.0) == 0
    standing.take(Lease(0.5, 3.0), 101.0)
    assert standing.value(103.9) == 0.5
    assert standing.value(104.0) == 0


def test_a_broken_line_revokes_but_does_not_renew() -> None:
    """After revoke() nothing is leased, and the lease still ends when it would have."""
    standing = Standing(110.0)
    standing.take(Lease(0.5, 3.0), 101.0)
    standing.revoke()
    assert standing.value(101.0) == 0
    assert standing.expires_s == 104.0


def test_the_rest_of_an_overlong_line_is_not_a_line() -> None:
    """A lease that hides in the tail of an overlong line is thrown away with it."""
    buffer, lease = LineBuffer(), encode("cpu", 0.5)
    (begun,) = buffer.feed(b"x" * (MAX_LINE_BYTES + 1))
    assert begun.startswith(b"x")
    assert buffer.feed(lease) == []
    assert buffer.feed(lease) == [lease[:-1]]


@given(st.lists(st.binary(max_size=MAX_LINE_BYTES).filter(lambda b: b"\n" not in b)), st.data())
def test_lines_do_not_depend_on_how_they_arrive(lines: list[bytes], data: st.DataObject) -> None:
    """However a stream is cut into chunks, the same lines come out."""
    stream, buffer, found = b"".join(line + b"\n" for line in lines), LineBuffer(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += buffer.feed(stream[:size])
        stream = stream[size:]
    assert found == lines
