"""What is noted beside the samples: each edge once, over restarts too."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from optimizer.chronicle import ENDED_EARLY, ENDED_IN_TIME, Chronicle
from optimizer.errors import HistoryError
from optimizer.model import Decision, PerResource, Plan, Reason, Resource
from optimizer.orders import Inhibit
from optimizer.outcome import Event, EventKind
from optimizer.report.events_text import WORDS, line
from tests.fakes import FakeHistory, FakeLog

NOW_S = 1_772_712_030.0  # 2026-03-05 12:00:30 UTC
PAUSE = Inhibit(reason="patch", by="ops", until_utc_s=NOW_S + 60, since_utc_s=NOW_S - 5)
WINDOW = Inhibit(
    reason="0 12 * * * 2h UTC",
    by="maintenance window",
    until_utc_s=NOW_S + 7000,
    since_utc_s=NOW_S - 200,
    scheduled=True,
)


@dataclass
class Clock:
    """A time that a test sets."""

    now_s: float = NOW_S

    def utc(self) -> float:
        """That time."""
        return self.now_s


class Rig:
    """Chronicles of daemons that run one after the other on the same history."""

    def __init__(self) -> None:
        self.history, self.log, self.clock = FakeHistory(), FakeLog(), Clock()
        self.chronicle = self.life()

    def life(self) -> Chronicle:
        """Another daemon starts."""
        self.chronicle = Chronicle(self.history, self.log, self.clock.utc)
        self.chronicle.started()
        return self.chronicle

    @property
    def kinds(self) -> list[EventKind]:
        """What was noted after the first start."""
        return [event.kind for event in self.history.events[1:]]

    @property
    def newest(self) -> Event:
        """What was noted last."""
        return self.history.events[-1]


def plan(reason: Reason) -> Plan:
    """A plan with the same reason for all."""

    def decision(resource: Resource) -> Decision:
        zero = dict.fromkeys(
            ("target_ratio", "setpoint_ratio", "wanted_ratio", "demand_ratio", "lease"), 0.0
        )
        return Decision(resource=resource, reason=reason, **zero)

    cpu, memory, disk = (decision(resource) for resource in Resource)
    return PerResource(cpu=cpu, memory=memory, disk=disk)


def test_a_start_after_an_end_and_after_a_crash() -> None:
    """Without a stop before it a start is one after a crash; the log warns of that."""
    rig = Rig()
    rig.chronicle.stopped(0)
    rig.life()
    rig.life()
    assert [event.kind for event in rig.history.events] == [
        EventKind.STARTED,
        EventKind.STOPPED,
        EventKind.STARTED,
        EventKind.RESTARTED,
    ]
    assert rig.history.events[1].detail == "exit code 0"
    assert [entry[:2] for entry in rig.log.events] == [
        ("info", "daemon.started"),
        ("info", "daemon.started"),
        ("warning", "daemon.restarted"),
    ]


def test_a_start_after_a_restore_is_none_after_a_crash() -> None:
    """A backup made beside a daemon ends in the midst of its life; a kill after that counts."""
    rig = Rig()
    rig.chronicle.note(EventKind.RESTORED)
    rig.life()
    rig.life()
    assert rig.kinds == [EventKind.RESTORED, EventKind.STARTED, EventKind.RESTARTED]


def test_a_pause_is_noted_once_and_its_end_once() -> None:
    """With who, why, since when and until when; and whether it ended by itself."""
    rig = Rig()
    assert not rig.chronicle.see_order(None)
    assert rig.chronicle.see_order(PAUSE)
    assert not rig.chronicle.see_order(PAUSE)
    assert not rig.chronicle.see_order(replace(PAUSE))  # read again: the same order
    assert rig.newest == Event(
        utc_s=NOW_S,
        kind=EventKind.PAUSED,
        reason="patch",
        by="ops",
        since_utc_s=NOW_S - 5,
        until_utc_s=NOW_S + 60,
    )
    rig.clock.now_s += 60
    assert rig.chronicle.see_order(None)
    assert not rig.chronicle.see_order(None)
    assert rig.newest == Event(
        utc_s=NOW_S + 60,
        kind=EventKind.RESUMED,
        reason="patch",
        by="ops",
        since_utc_s=NOW_S,
        detail=ENDED_IN_TIME,
    )


def test_a_pause_that_is_lifted_says_so() -> None:
    """Also one without an end."""
    rig = Rig()
    for order in (PAUSE, replace(PAUSE, until_utc_s=None)):
        rig.chronicle.see_order(order)
        rig.chronicle.see_order(None)
        assert rig.newest.detail == ENDED_EARLY


def test_an_end_that_moves_with_the_clock_is_no_news() -> None:
    """As it does in each cycle after a clock was set; the end by the present clock counts."""
    rig = Rig()
    rig.chronicle.see_order(PAUSE)
    end_s = NOW_S + 60
    for step in range(100):
        end_s = NOW_S + 60 - step * 0.3
        assert not rig.chronicle.see_order(replace(PAUSE, until_utc_s=end_s))
    rig.clock.now_s = end_s
    rig.chronicle.see_order(None)
    assert rig.newest.detail == ENDED_IN_TIME
    assert rig.kinds == [EventKind.PAUSED, EventKind.RESUMED]


def test_an_end_that_is_moved_far_is_noted_again() -> None:
    """An hour later, or no end at all: the history must not tell the old one."""
    rig = Rig()
    rig.chronicle.see_order(PAUSE)
    for until_utc_s in (NOW_S + 3660, None, NOW_S + 3660):
        assert rig.chronicle.see_order(replace(PAUSE, until_utc_s=until_utc_s))
        assert rig.newest.until_utc_s == until_utc_s


def test_an_order_that_takes_the_place_of_another_is_noted_as_its_begin() -> None:
    """A second pause, then a window that outlasts it; one end in the end."""
    rig = Rig()
    for order in (PAUSE, replace(PAUSE, reason="more"), WINDOW, None):
        assert rig.chronicle.see_order(order)
    assert rig.kinds == [
        EventKind.PAUSED,
        EventKind.PAUSED,
        EventKind.MAINTENANCE_BEGAN,
        EventKind.MAINTENANCE_ENDED,
    ]


def test_a_restart_during_a_pause_notes_nothing_of_it() -> None:
    """The same order is still in force: no second begin, and one end."""
    rig = Rig()
    rig.chronicle.see_order(PAUSE)
    rig.life()
    assert not rig.chronicle.see_order(replace(PAUSE))
    rig.chronicle.see_order(None)
    assert rig.kinds == [EventKind.PAUSED, EventKind.RESTARTED, EventKind.RESUMED]


def test_what_happened_while_no_daemon_ran_is_noted_at_the_start() -> None:
    """A pause that was lifted meanwhile, and one that was given meanwhile."""
    rig = Rig()
    rig.chronicle.see_order(PAUSE)
    rig.life()
    assert rig.chronicle.see_order(None)
    rig.clock.now_s += 3600
    rig.life()
    assert rig.chronicle.see_order(replace(PAUSE, until_utc_s=None))
    assert rig.newest.since_utc_s == NOW_S - 5
    assert rig.newest.utc_s == NOW_S + 3600


def test_pressure_and_tripped_stressers_are_noted() -> None:
    """When the reason changes, not as long as it lasts."""
    rig = Rig()
    for reason, before in (
        (Reason.HOLDING, ()),
        (Reason.STRESSER_TRIPPED, (Reason.HOLDING,)),
        (Reason.STRESSER_TRIPPED, (Reason.STRESSER_TRIPPED,)),
        (Reason.PRESSURE, (Reason.STRESSER_TRIPPED,)),
        (Reason.PRESSURE, (Reason.PRESSURE,)),
        (Reason.RISING, (Reason.PRESSURE,)),
    ):
        rig.chronicle.see_reasons(plan(reason), before)
    assert rig.kinds == [
        EventKind.TRIPPED,
        EventKind.PRESSURE_BEGAN,
        EventKind.PRESSURE_ENDED,
    ]
    assert [event.detail for event in rig.history.events[1:]] == ["cpu", "", "now rising"]


def test_a_history_that_cannot_be_read_is_said_and_no_hindrance() -> None:
    """Then nothing is known of before: a plain start."""

    class Broken(FakeHistory):
        def last(self, kinds: object) -> Event | None:
            raise HistoryError(f"cannot read {kinds}")

    log = FakeLog()
    history = Broken()
    chronicle = Chronicle(history, log, Clock().utc)
    chronicle.started()
    assert [event.kind for event in history.events] == [EventKind.STARTED]
    assert log.names().count("history.read_failed") == 2


def test_each_kind_has_its_words() -> None:
    """A kind without words is a fault; no two are alike."""
    assert set(WORDS) == set(EventKind)
    assert len(set(WORDS.values())) == len(EventKind)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            Event(
                utc_s=NOW_S,
                kind=EventKind.PAUSED,
                reason="patch\x1b[2J",
                by="ops",
                since_utc_s=NOW_S - 3600,
                until_utc_s=NOW_S + 7200,
            ),
            "2026-03-05 12:00:30 UTC  paused by ops until 2026-03-05 14:00 UTC, for 2 h,"
            " since 2026-03-05 11:00 UTC: patch?[2J",
        ),
        (
            Event(utc_s=NOW_S, kind=EventKind.PAUSED, by="ops"),
            "2026-03-05 12:00:30 UTC  paused by ops until resumed",
        ),
        (
            Event(utc_s=NOW_S, kind=EventKind.STOPPED, detail="exit code 0"),
            "2026-03-05 12:00:30 UTC  stopped, exit code 0",
        ),
    ],
)
def test_an_event_is_one_line(event: Event, text: str) -> None:
    """Nothing in it steers a terminal."""
    assert line(event) == text
