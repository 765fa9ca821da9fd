"""A pause and the maintenance windows as the status document says them."""

from __future__ import annotations

from optimizer.orders import Inhibit, Maintenance, Span


def inhibit_facts(order: Inhibit | None) -> dict[str, object] | None:
    """The order not to load that is in force, as the document says it."""
    if order is None:
        return None
    return {
        "reason": order.reason,
        "by": order.by,
        "until_utc_s": order.until_utc_s,
        "since_utc_s": order.since_utc_s,
        "scheduled": order.scheduled,
    }


def maintenance_facts(maintenance: Maintenance) -> dict[str, object]:
    """The maintenance window that runs, and the start that comes next, as the document says it."""

    def span(of: Span | None) -> dict[str, object] | None:
        if of is None:
            return None
        return {
            "window": of.window,
            "start_utc_s": of.start_utc_s,
            "until_utc_s": of.until_utc_s,
            "local": of.local,
        }

    return {
        "running": span(maintenance.running),
        "lifted": maintenance.lifted,
        "next": span(maintenance.next),
    }
