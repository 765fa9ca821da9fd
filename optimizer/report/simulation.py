"""What a simulation shows: one line a day, the totals, a line of blocks, and an SVG picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from optimizer.simulate import Minute, hold_ratio

DAY_S = 86_400
_BLOCKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_WIDE = 72
_SVG_POINTS = 900


@dataclass(slots=True)
class Day:
    """Sums of one UTC day: ratios times minutes; `unmet` counts minutes with a judged figure."""

    date: str
    minutes: int = 0
    known: int = 0
    organic: float = 0.0
    own: float = 0.0
    hold: float = 0.0
    judged: int = 0
    unmet: int = 0
    ratio: float | None = None
    coverage: float = 0.0
    intents: dict[str, int] | None = None

    @property
    def verdict(self) -> str:
        """Whether the policy was met at each minute of the day."""
        if not self.judged:
            return "unknown"
        return "met" if not self.unmet else f"NOT met for {self.unmet} min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole simulation; core-hours of our own, and what holding the target would have cost."""

    days: tuple[Day, ...]
    own_core_hours: float
    hold_core_hours: float
    unmet_minutes: int
    organic: tuple[float | None, ...]
    own: tuple[float | None, ...]

    @property
    def saving(self) -> float:
        """Share of hold's core-hours that is saved."""
        return 1.0 - self.own_core_hours / self.hold_core_hours if self.hold_core_hours else 0.0


def collect(minutes: Iterable[Minute], *, cpus: int, target: float) -> Result:
    """Sum up the minutes of a simulation."""
    days: list[Day] = []
    organic: list[float | None] = []
    own: list[float | None] = []
    last = -1
    for minute in minutes:
        number = int((minute.utc_s - 1) // DAY_S)
        if number != last:
            last = number
            moment = datetime.fromtimestamp(number * DAY_S, UTC)
            days.append(Day(date=f"{moment:%Y-%m-%d}", intents={}))
        day = days[-1]
        day.minutes += 1
        organic.append(minute.organic)
        own.append(minute.own)
        if minute.organic is not None and minute.own is not None:
            day.known += 1
            day.organic += minute.organic
            day.own += minute.own
            day.hold += hold_ratio(minute.organic, target)
        outlook = minute.outlook
        if outlook is not None:
            if outlook.met is not None:
                day.judged += 1
                day.unmet += not outlook.met
            day.ratio, day.coverage = outlook.ratio, outlook.coverage
            if day.intents is not None:
                day.intents[outlook.intent.value] = day.intents.get(outlook.intent.value, 0) + 1
    return Result(
        days=tuple(days),
        own_core_hours=sum(day.own for day in days) * cpus / 60,
        hold_core_hours=sum(day.hold for day in days) * cpus / 60,
        unmet_minutes=sum(day.unmet for day in days),
        organic=tuple(organic),
        own=tuple(own),
    )


def document(result: Result, cpus: int) -> dict[str, object]:
    """The same for programs."""
    return {
        "own_core_hours": round(result.own_core_hours, 3),
        "hold_core_hours": round(result.hold_core_hours, 3),
        "saving": round(result.saving, 4),
        "unmet_minutes": result.unmet_minutes,
        "days": [
            {
                "date": day.date,
                "verdict": day.verdict,
                "statistic": None if day.ratio is None else round(day.ratio, 5),
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


def _saved(saving: float) -> str:
    return f"{100 * abs(saving):.1f} % {'are saved' if saving >= 0 else 'more are spent'}"


def lines(result: Result, *, cpus: int, statistic: str, target: float) -> list[str]:
    """For a terminal."""
    shown = [
        f"{'day':12}{'organic':>9}{'own':>8}{'total':>8}{statistic:>9}  {'core-h':>7}  verdict"
    ]
    for day in result.days:
        ratio = "-" if day.ratio is None else f"{100 * day.ratio:.1f}%"
        means = f"{'-':>9}{'-':>8}{'-':>8}"
        if day.known:
            organic, own = 100 * day.organic / day.known, 100 * day.own / day.known
            means = f"{organic:8.1f}%{own:7.1f}%{organic + own:7.1f}%"
        gap = f", {day.minutes - day.known} min unknown" if day.known < day.minutes else ""
        shown.append(
            f"{day.date:12}{means}{ratio:>9}  {day.own * cpus / 60:7.2f}  {day.verdict}{gap}"
        )
    shown += ["", *_sparklines(result), ""]
    shown.append(
        f"own load {result.own_core_hours:.2f} core-hours on {cpus} CPUs; holding "
        f"{100 * target:g} % all the time {result.hold_core_hours:.2f}"
        + (f", so {_saved(result.saving)}" if result.hold_core_hours else "")
    )
    total = sum(day.judged for day in result.days)
    shown.append(
        "policy met at every minute"
        if not result.unmet_minutes
        else f"policy not met at {result.unmet_minutes} of {total} minutes"
    )
    return shown


def _sparklines(result: Result) -> list[str]:
    return [
        f"total   {spark(_means(_totals(result), _WIDE))}",
        f"organic {spark(_means(result.organic, _WIDE))}",
    ]


def _totals(result: Result) -> list[float | None]:
    return [
        None if a is None or b is None else a + b
        for a, b in zip(result.organic, result.own, strict=True)
    ]


def spark(values: Sequence[float | None]) -> str:
    """Ratios as blocks of eight heights; a dot where unknown."""
    return "".join(
        "." if one is None else _BLOCKS[min(8, max(0, round(one * 8)))] for one in values
    )


def _means(values: Sequence[float | None], count: int) -> list[float | None]:
    """At most `count` means of equal parts."""
    size = max(1, -(-len(values) // count))
    found: list[float | None] = []
    for at in range(0, len(values), size):
        known = [one for one in values[at : at + size] if one is not None]
        found.append(sum(known) / len(known) if known else None)
    return found


def svg(result: Result, *, target: float, title: str) -> str:
    """A picture of organic and own load, stacked, with the target; no scripts, no fonts."""
    organic = _means(result.organic, _SVG_POINTS)
    total = _means(_totals(result), _SVG_POINTS)
    width, height, left = 960, 300, 40
    step = (width - left) / max(1, len(total))

    def area(values: Sequence[float | None]) -> str:
        points = " ".join(
            f"{left + i * step:.1f},{height - (one or 0.0) * height:.1f}"
            for i, one in enumerate(values)
        )
        return f"{left},{height} {points} {left + len(values) * step:.1f},{height}"

    bar = height - target * height
    ticks = "".join(
        f'<text x="4" y="{height - p * height / 100 + 4:.0f}">{p}%</text>' for p in (25, 50, 75)
    )
    span = f"{result.days[0].date} to {result.days[-1].date}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 44}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height + 44}" fill="#fff"/>'
        f'<polygon points="{area(total)}" fill="#f0a35e"/>'
        f'<polygon points="{area(organic)}" fill="#4a7fb5"/>'
        f'<line x1="{left}" x2="{width}" y1="{bar:.1f}" y2="{bar:.1f}" stroke="#b00" '
        f'stroke-dasharray="6 4"/>{ticks}'
        f'<text x="{left}" y="{height + 18}">{escape(title)}, {span}</text>'
        f'<text x="{left}" y="{height + 36}">blue: tenant, orange: own load, dashed: target '
        f"{100 * target:g} %; own {result.own_core_hours:.1f} core-hours</text></svg>\n"
    )
