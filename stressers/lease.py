"""The line protocol between a controller and a stresser, and the clock of a lease.

The controller writes one JSON object a line: `{"duty": 0.18, "ttl_s": 3.0}` to a
CPU stresser, `{"bytes": 4294967296, "ttl_s": 3.0}` to the others. A lease is a
ceiling. No line, a broken line, an expired lease or end of file means no load.
A CPU lease may say with `"level": 0.4` how busy the whole host is: then the
stresser reports as soon as that is no longer so, and the controller may look
less often.
"""

from __future__ import annotations

import json

TTL_S = 3.0
"""How long a lease lasts: a hung controller hurts no longer than this."""
RENEW_S = 1.0
"""How often an unchanged lease is renewed: two renewals may be lost before it runs out."""
MAX_TTL_S = 60.0
"""A longer lease would outlive the controller's watchdog and is refused."""
MAX_BYTES = 1 << 53
"""The largest whole number that a double holds exactly, for sizes travel as doubles."""
MAX_LINE_BYTES = 512
"""A longer line is broken; ours have about 40 bytes."""

LEVEL = "level"
"""The key of the host's utilisation, 0 to 1, in a CPU lease."""

TEST_SWITCH = "STRESSER_TEST_DISABLE"
"""Environment variable by which tests switch single ways to die off; a controller removes it."""

KEYS = {"cpu": "duty", "memory": "bytes", "disk": "bytes"}
"""For each kind of stresser, the key of its lease."""


class LeaseError(ValueError):
    """A line is not a lease; raised by decode(), the message names what is wrong."""


class Lease:
    """What may be used for how long: duty 0 to 1, or bytes, for `ttl_s` seconds from now.

    `level` is the host's utilisation to watch, 0 to 1; None: nothing to watch.
    """

    __slots__ = ("level", "ttl_s", "value")

    def __init__(self, value: float, ttl_s: float, level: float | None = None) -> None:
        self.value = value
        self.ttl_s = ttl_s
        self.level = level


def encode(kind: str, value: float, *, ttl_s: float = TTL_S, level: float | None = None) -> bytes:
    """The line that leases `value` to a stresser of that kind.

    What is out of range is cut to it; what is not a number leases nothing.
    """
    key = KEYS[kind]
    value = value if value > 0 else 0.0
    # JSON by format: ten times a second, json.dumps() is a large part of the controller's cost.
    amount = repr(float(min(value, 1.0))) if key == "duty" else f"{int(min(value, MAX_BYTES))}"
    watched = "" if level is None else f', "{LEVEL}": {level:.4f}'
    return f'{{"{key}": {amount}, "ttl_s": {ttl_s!r}{watched}}}\n'.encode("ascii")


def decode(kind: str, line: bytes) -> Lease:
    """The lease in one line. Raises LeaseError for anything but exactly the agreed form."""
    if len(line) > MAX_LINE_BYTES:
        message = f"line of {len(line)} bytes, at most {MAX_LINE_BYTES} are read"
        raise LeaseError(message)
    try:
        found = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        message = f"not JSON: {line[:80]!r}"
        raise LeaseError(message) from exc
    key = KEYS[kind]
    level = found.pop(LEVEL, None) if isinstance(found, dict) and key == "duty" else None
    if not isinstance(found, dict) or set(found) != {key, "ttl_s"}:
        message = f'not an object with exactly "{key}" and "ttl_s": {line[:80]!r}'
        raise LeaseError(message)
    value, ttl_s = found[key], found["ttl_s"]
    whole = key == "bytes"
    limit = MAX_BYTES if whole else 1
    # bool is an int in Python, and a comparison with NaN is always false.
    if type(value) not in ((int,) if whole else (int, float)) or not 0 <= value <= limit:
        message = f"{key} is {value!r}, expected 0 to {limit}"
        raise LeaseError(message)
    if type(ttl_s) not in (int, float) or not 0 < ttl_s <= MAX_TTL_S:
        message = f"ttl_s is {ttl_s!r}, expected more than 0 and at most {MAX_TTL_S:g}"
        raise LeaseError(message)
    if level is not None and (type(level) not in (int, float) or not 0 <= level <= 1):
        message = f"{LEVEL} is {level!r}, expected 0 to 1"
        raise LeaseError(message)
    return Lease(value, float(ttl_s), level)


class Standing:
    """The lease that is in force, and when it ends on the monotonic clock.

    Begins with nothing leased and `expires_s` as the time by which the first
    lease must have come.
    """

    __slots__ = ("_value", "expires_s", "level")

    def __init__(self, expires_s: float) -> None:
        self._value = 0.0
        self.expires_s = expires_s
        self.level: float | None = None

    def take(self, lease: Lease, now_s: float) -> None:
        """A new lease replaces the one before, also when it is shorter."""
        self._value = lease.value
        self.level = lease.level
        self.expires_s = now_s + lease.ttl_s

    def revoke(self) -> None:
        """No load from now on; the time by which a good lease must have come stays."""
        self._value = 0.0

    def value(self, now_s: float) -> float:
        """What may be used now: 0 once the lease has run out."""
        return self._value if now_s < self.expires_s else 0.0


class LineBuffer:
    """Cuts a stream into lines; a line beyond MAX_LINE_BYTES comes as its beginning only.

    The rest of such a line is thrown away, so that it is not taken for a line of its own.
    """

    __slots__ = ("_begun", "_skipping")

    def __init__(self) -> None:
        self._begun = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk, without their line feeds."""
        *ended, begun = (self._begun + chunk).split(b"\n")
        if ended and self._skipping:
            del ended[0]
            self._skipping = False
        if self._skipping:
            begun = b""
        elif len(begun) > MAX_LINE_BYTES:
            ended.append(begun)
            self._skipping = True
            begun = b""
        self._begun = begun
        return ended
