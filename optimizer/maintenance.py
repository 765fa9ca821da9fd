"""The operator's orders and the maintenance windows, as one order not to load."""

from __future__ import annotations

from collections.abc import Callable

from optimizer.orders import Inhibit, Maintenance, Span
from optimizer.ports import Switch
from optimizer.schedule import Standing, Window, standing

BY = "maintenance window"
"""Who gives the order while a window runs."""
_AHEAD_S = 60.0
"""A resume further in the future was given by a wrong clock; time servers correct less."""


class MaintenanceSwitch:
    """A switch that is also off while a maintenance window runs; implements ports.Switch.

    A resume lifts the windows that run at that time, until their ends. The
    time of the last resume is in a file, so this outlives a restart. One of the
    future, given while the clock was ahead, lifts nothing; nor does it once its
    time has come, if it was seen here before.
    """

    def __init__(self, switch: Switch, windows: Callable[[], tuple[Window, ...]]) -> None:
        self._switch = switch
        self._windows = windows
        self._known: tuple[Window, ...] = ()
        self._standing: Standing | None = None
        self._void_resume_s: float | None = None

    def inhibit(self, now_utc_s: float) -> Inhibit | None:
        """Of the operator's order and the windows that run the one that ends later."""
        order = self._switch.inhibit(now_utc_s)
        if not self._windows():
            return order
        now = self.maintenance(now_utc_s)
        if now.running is None or now.lifted or _outlasts(order, now.running):
            return order
        return Inhibit(
            reason=now.running.window,
            by=BY,
            until_utc_s=now.running.until_utc_s,
            since_utc_s=now.running.start_utc_s,
            scheduled=True,
        )

    def maintenance(self, now_utc_s: float) -> Maintenance:
        """The window that runs, and the start that comes next."""
        now, resumed_s = self._standing_at(now_utc_s), self._resumed_by(now_utc_s)
        if not now.running:
            return Maintenance(next=now.next)
        for span in now.running:
            if resumed_s is None or not span.start_utc_s <= resumed_s < span.until_utc_s:
                return Maintenance(running=span, next=now.next)
        return Maintenance(running=now.running[0], lifted=True, next=now.next)

    def released(self, now_utc_s: float) -> frozenset[str]:
        """As the switch inside says."""
        return self._switch.released(now_utc_s)

    def resumed(self) -> bool:
        """As the switch inside says."""
        return self._switch.resumed()

    def resumed_utc_s(self) -> float | None:
        """As the switch inside says."""
        return self._switch.resumed_utc_s()

    def _resumed_by(self, now_utc_s: float) -> float | None:
        """When an operator last resumed; None when never, or when that time is no true one."""
        resumed_s = self._switch.resumed_utc_s()
        if resumed_s is None or resumed_s > now_utc_s:
            if resumed_s is not None and resumed_s > now_utc_s + _AHEAD_S:
                self._void_resume_s = resumed_s
            return None
        return None if resumed_s == self._void_resume_s else resumed_s

    def _standing_at(self, now_utc_s: float) -> Standing:
        """Worked out at each edge, after a reload, and when the clock was put back."""
        windows, known = self._windows(), self._standing
        stale = known is None or not known.from_utc_s <= now_utc_s < known.edge_utc_s
        if known is None or stale or windows is not self._known:
            self._known = windows
            self._standing = known = standing(windows, now_utc_s)
        return known


def _outlasts(order: Inhibit | None, span: Span) -> bool:
    if order is None:
        return False
    return order.until_utc_s is None or order.until_utc_s > span.until_utc_s
