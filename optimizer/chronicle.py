"""What happens beside the samples, noted in the history and in the log when it is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from optimizer.errors import HistoryError
from optimizer.model import Decision, Plan, Reason
from optimizer.orders import Inhibit
from optimizer.outcome import Event, EventKind
from optimizer.ports import History, Log

_RUNS = (EventKind.STARTED, EventKind.RESTARTED)
_LIVES = (*_RUNS, EventKind.STOPPED, EventKind.RESTORED)
_BEGINS = (EventKind.PAUSED, EventKind.MAINTENANCE_BEGAN)
_ENDS = (EventKind.RESUMED, EventKind.MAINTENANCE_ENDED)
MOVED_S = 60.0
"""An end that moves by less is no news: it does so each cycle once a clock was set or slewed."""
_SAID_ELSEWHERE = (
    *(EventKind.STOPPED, EventKind.PRESSURE_BEGAN, EventKind.PRESSURE_ENDED),
    *(EventKind.CLOCK_STEPPED, EventKind.SLEPT, EventKind.TRIPPED),
)
_UNWANTED = (EventKind.RESTARTED,)
ENDED_IN_TIME = "its end has come"
"""Detail of a pause or window that nobody ended."""
ENDED_EARLY = "lifted before its end"
"""Detail of one that was resumed, or is in force no more for another reason."""


class Chronicle:
    """Notes edges: each begin and each end once, over restarts too.

    What began while no daemon ran, or ended then, is noted at the start: the
    history tells which order was in force when the last one ended.
    """

    def __init__(self, history: History, log: Log, utc: Callable[[], float]) -> None:
        self._history = history
        self._log = log
        self._utc = utc
        self._known: Event | None = None
        self._order: Inhibit | None = None

    def started(self) -> None:
        """Note the start, and what the daemon before this one has left."""
        life = self._last(_LIVES)
        crashed = life is not None and life.kind in _RUNS
        self.note(EventKind.RESTARTED if crashed else EventKind.STARTED)
        before = self._last((*_BEGINS, *_ENDS))
        if before is not None and before.kind in _BEGINS:
            self._known = before

    def stopped(self, exit_code: int) -> None:
        """Note an end in good order."""
        self.note(EventKind.STOPPED, detail=f"exit code {exit_code}")

    def see_order(self, order: Inhibit | None) -> bool:
        """Note that an order not to load has come, was replaced, or is over; whether it has."""
        if order is self._order and (order is None) == (self._known is None):
            return False
        seen, self._order = self._order, order
        known = self._known
        if order is None:
            self._known = None
            if known is not None:
                self._note_end(known, known.until_utc_s if seen is None else seen.until_utc_s)
            return known is not None
        if known is not None and _is_same(known, order):
            return False
        kind = EventKind.MAINTENANCE_BEGAN if order.scheduled else EventKind.PAUSED
        self._known = self.note(
            kind,
            reason=order.reason,
            by=order.by,
            since_utc_s=order.since_utc_s,
            until_utc_s=order.until_utc_s,
        )
        return True

    def see_reasons(self, plan: Plan, before: Iterable[Reason]) -> None:
        """Note what has forbidden load, or no longer does; `before` are the reasons until now."""
        for decision, old in zip(plan, before, strict=False):
            if decision.reason is not old:
                self._changed(decision, old)

    def note(
        self,
        kind: EventKind,
        *,
        reason: str = "",
        by: str = "",
        since_utc_s: float | None = None,
        until_utc_s: float | None = None,
        detail: str = "",
    ) -> Event:
        """Note an event of now, and say it in the log where that does not say it already."""
        event = Event(
            utc_s=self._utc(),
            kind=kind,
            reason=reason,
            by=by,
            since_utc_s=since_utc_s,
            until_utc_s=until_utc_s,
            detail=detail,
        )
        self._history.note(event)
        if kind not in _SAID_ELSEWHERE:
            say = self._log.warning if kind in _UNWANTED else self._log.info
            say(
                kind.value,
                reason=reason,
                by=by,
                since_utc_s=since_utc_s,
                until_utc_s=until_utc_s,
                detail=detail,
            )
        return event

    def _note_end(self, known: Event, until_utc_s: float | None) -> None:
        in_time = until_utc_s is not None and until_utc_s <= self._utc()
        window = known.kind is EventKind.MAINTENANCE_BEGAN
        self.note(
            EventKind.MAINTENANCE_ENDED if window else EventKind.RESUMED,
            reason=known.reason,
            by=known.by,
            since_utc_s=known.utc_s,
            detail=ENDED_IN_TIME if in_time else ENDED_EARLY,
        )

    def _changed(self, decision: Decision, old: Reason) -> None:
        if decision.reason is Reason.STRESSER_TRIPPED:
            self.note(EventKind.TRIPPED, detail=decision.resource.value)
        elif decision.reason is Reason.PRESSURE:
            self.note(EventKind.PRESSURE_BEGAN)
        elif old is Reason.PRESSURE:
            self.note(EventKind.PRESSURE_ENDED, detail=f"now {decision.reason.value}")

    def _last(self, kinds: tuple[EventKind, ...]) -> Event | None:
        try:
            return self._history.last(kinds)
        except HistoryError as exc:
            self._log.warning("history.read_failed", cause=str(exc))
            return None


def _is_same(known: Event, order: Inhibit) -> bool:
    """Whether an order is the one that was noted."""
    noted = (known.reason, known.by, known.since_utc_s)
    if noted != (order.reason, order.by, order.since_utc_s):
        return False
    if known.until_utc_s is None or order.until_utc_s is None:
        return known.until_utc_s is order.until_utc_s
    return abs(known.until_utc_s - order.until_utc_s) < MOVED_S
