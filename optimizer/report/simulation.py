"""A simulation summed up: the verdict of each day and of all, core-hours, and all for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from optimizer.model import Resource
from optimizer.orders import Combination, Policy
from optimizer.simulate import Minute, fill_ratio

DAY_S = 86_400


@dataclass(slots=True)
class Tally:
    """Minutes with a verdict of the policy, those not met, and in these the resources that fail.

    `missed` counts for each judged resource the minutes in which it alone was not met.
    """

    judged: int = 0
    unmet: int = 0
    failing: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)

    def add(self, combination: Combination, met: Mapping[str, bool | None]) -> None:
        """Count a minute by what the judged resources came to in it."""
        verdict = combination.verdict(met.values())
        if verdict is None:
            return
        self.judged += 1
        missed = [name for name, one in met.items() if one is False]
        self.missed.update(missed)
        if not verdict:
            self.unmet += 1
            self.failing.update(missed)

    def join(self, other: Tally) -> None:
        """Count the minutes of another as well."""
        self.judged += other.judged
        self.unmet += other.unmet
        self.failing.update(other.failing)
        self.missed.update(other.missed)


@dataclass(slots=True)
class Day:
    """Sums of one UTC day: ratios times minutes; `on` and `off`: while the host ran or did not.

    `ratio` and `coverage` are those of the CPU's judged figure when the day ended.
    """

    date: str
    minutes: int = 0
    known: int = 0
    organic: float = 0.0
    own: float = 0.0
    fill: float = 0.0
    on: Tally = field(default_factory=Tally)
    off: Tally = field(default_factory=Tally)
    ratio: float | None = None
    coverage: float = 0.0
    intents: Counter[str] = field(default_factory=Counter)

    @property
    def verdict(self) -> str:
        """Whether the policy was met at each minute in which the host ran, and what failed."""
        if not self.on.judged:
            return "off" if self.off.judged and not self.known else "unknown"
        if not self.on.unmet:
            return "met"
        return f"NOT met for {self.on.unmet} min ({', '.join(self.on.failing)})"

    @property
    def gap(self) -> str:
        """How long the host was off, and for how much of that the policy was not met."""
        if self.known == self.minutes:
            return ""
        unmet = f" (NOT met for {self.off.unmet})" if self.off.unmet else ""
        return f", {self.minutes - self.known} min off{unmet}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole simulation; core-hours of our own, and what an ideal fill to the target would cost.

    `judged` names what the policy judges. `hold_core_hours` are those of the
    same host under STRATEGY=hold, None where that was not simulated.
    """

    days: tuple[Day, ...]
    combination: Combination
    judged: tuple[str, ...]
    on: Tally
    off: Tally
    own_core_hours: float
    fill_core_hours: float
    organic: tuple[float | None, ...]
    own: tuple[float | None, ...]
    hold_core_hours: float | None = None

    @property
    def saving(self) -> float | None:
        """Share of hold's core-hours that is saved; None where there is nothing to compare."""
        return 1.0 - self.own_core_hours / self.hold_core_hours if self.hold_core_hours else None


def collect(minutes: Iterable[Minute], *, cpus: int, policy: Policy) -> Result:
    """Sum up the minutes of a simulation."""
    terms = policy.terms
    judged = [
        one for one in Resource if terms.goals.of(one) is not None and policy.target.of(one) > 0
    ]
    days: list[Day] = []
    organic: list[float | None] = []
    own: list[float | None] = []
    last = -1
    for minute in minutes:
        number = int((minute.utc_s - 1) // DAY_S)
        if number != last:
            last = number
            moment = datetime.fromtimestamp(number * DAY_S, UTC)
            days.append(Day(date=f"{moment:%Y-%m-%d}"))
        day = days[-1]
        day.minutes += 1
        organic.append(minute.organic)
        own.append(minute.own)
        is_on = minute.organic is not None and minute.own is not None
        if minute.organic is not None and minute.own is not None:
            day.known += 1
            day.organic += minute.organic
            day.own += minute.own
            day.fill += fill_ratio(minute.organic, policy.target.cpu)
            day.intents[minute.outlooks.cpu.intent.value] += 1
        met = {one.value: minute.outlooks.of(one).met for one in judged}
        (day.on if is_on else day.off).add(terms.combination, met)
        day.ratio, day.coverage = minute.outlooks.cpu.ratio, minute.outlooks.cpu.coverage
    on, off = Tally(), Tally()
    for day in days:
        on.join(day.on)
        off.join(day.off)
    return Result(
        days=tuple(days),
        combination=terms.combination,
        judged=tuple(one.value for one in judged),
        on=on,
        off=off,
        own_core_hours=sum(day.own for day in days) * cpus / 60,
        fill_core_hours=sum(day.fill for day in days) * cpus / 60,
        organic=tuple(organic),
        own=tuple(own),
    )


def document(result: Result, cpus: int) -> dict[str, object]:
    """The same for programs."""
    return {
        "own_core_hours": round(result.own_core_hours, 3),
        "fill_core_hours": round(result.fill_core_hours, 3),
        "hold_core_hours": _rounded(result.hold_core_hours, 3),
        "saving": _rounded(result.saving, 4),
        "judged_minutes": result.on.judged,
        "unmet_minutes": result.on.unmet,
        "failing_minutes": dict(result.on.failing),
        "off": {
            "minutes": sum(day.minutes - day.known for day in result.days),
            "judged_minutes": result.off.judged,
            "unmet_minutes": result.off.unmet,
        },
        "days": [
            {
                "date": day.date,
                "verdict": day.verdict,
                "failing_minutes": dict(day.on.failing),
                "statistic": _rounded(day.ratio, 5),
                "coverage": round(day.coverage, 4),
                "organic": round(day.organic / day.known, 5) if day.known else None,
                "own": round(day.own / day.known, 5) if day.known else None,
                "own_core_hours": round(day.own * cpus / 60, 3),
                "known_minutes": day.known,
                "minutes": day.minutes,
                "intents": day.intents,
            }
            for day in result.days
        ],
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
