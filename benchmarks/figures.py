"""Percentiles, medians, ratios and the noise band of repeated measurements; table and plot.

A measurement is a mapping of figure names to values; a repetition that failed or
lacks a figure is left out of the medians. The reference is no filler at all, and
it is measured twice in each repetition: the ratio of the second to the first is
what chance alone does, the A/A band.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REFERENCE = "none"
AGAIN = "none again"
Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""For each arm one measurement for each repetition, in the order of the repetitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table; `title` carries the unit. Ratios are given where `compared`."""

    name: str
    title: str
    compared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Second over first measurement without a filler: median, least and greatest repetition."""

    median: float
    low: float
    high: float


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share (0 to 1) of all does not exceed.

    Nearest rank, without interpolation. Raises ValueError without a value.
    """
    if not values:
        message = "a percentile needs a value"
        raise ValueError(message)
    # A product such as 0.07 * 100 is a little more than the whole number that it should be.
    rank = math.ceil(round(share * len(values), 9))
    return sorted(values)[max(rank, 1) - 1]


def values_of(measurements: Sequence[Mapping[str, float]], name: str) -> list[float]:
    """The values of one figure, without the repetitions that lack it."""
    return [one[name] for one in measurements if name in one]


def median_of(measurements: Sequence[Mapping[str, float]], name: str) -> float | None:
    """Median over the repetitions; None where no repetition has the figure."""
    values = values_of(measurements, name)
    return statistics.median(values) if values else None


def ratio(value: float | None, reference: float | None) -> float | None:
    """Value over reference; None where one is missing or the reference is 0."""
    if value is None or not reference:
        return None
    return value / reference


def finite(runs: Runs) -> dict[str, list[dict[str, float | None]]]:
    """The same for JSON, which has neither infinity (never) nor NaN (no value): both are None."""
    return {
        arm: [{k: v if math.isfinite(v) else None for k, v in one.items()} for one in measured]
        for arm, measured in runs.items()
    }


def band_of(runs: Runs, name: str) -> Band | None:
    """The A/A band of one figure; None where no repetition has both measurements."""
    ratios = [
        found
        for first, second in zip(runs.get(REFERENCE, ()), runs.get(AGAIN, ()), strict=False)
        if (found := ratio(second.get(name), first.get(name))) is not None
    ]
    if not ratios:
        return None
    return Band(median=statistics.median(ratios), low=min(ratios), high=max(ratios))


def table(runs: Runs, figures: Sequence[Figure]) -> str:
    """Median and its ratio to the median without a filler, for each arm, in Markdown.

    The last column is the A/A band: median, least and greatest ratio of the two
    measurements without a filler in the same repetition. Figures that nobody
    has are left out; a dash is a missing value.
    """
    arms = [arm for arm in runs if arm != AGAIN] + [arm for arm in runs if arm == AGAIN]
    lines = [f"| figure | {' | '.join(arms)} | A/A band |", "|---" * (len(arms) + 2) + "|"]
    for figure in figures:
        medians = {arm: median_of(runs[arm], figure.name) for arm in arms}
        if all(median is None for median in medians.values()):
            continue
        reference = medians.get(REFERENCE)
        cells = [
            _cell(medians[arm], reference if figure.compared and arm != REFERENCE else None)
            for arm in arms
        ]
        band = band_of(runs, figure.name) if figure.compared else None
        cells.append("-" if band is None else f"{band.median:.2f} ({_span(band)})")
        lines.append(f"| {figure.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(measured: Runs) -> str:
    """Median and range of each figure for each arm, in Markdown; a dash is a missing value.

    A single repetition has no range.
    """
    names = dict.fromkeys(name for runs in measured.values() for run in runs for name in run)
    lines = ["| figure | " + " | ".join(measured) + " |", "|---" * (len(measured) + 1) + "|"]
    for name in names:
        cells = []
        for runs in measured.values():
            values = values_of(runs, name)
            if not values:
                cells.append("-")
                continue
            cell = _short(statistics.median(values))
            if len(values) > 1:
                cell += f" ({_short(min(values))} to {_short(max(values))})"
            cells.append(cell)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Three decimals where they matter, none from 1000 on."""
    return f"{value:.{3 if abs(value) < 100 else 1 if abs(value) < 1000 else 0}f}"


def _cell(value: float | None, reference: float | None) -> str:
    if value is None:
        return "-"
    found = ratio(value, reference)
    # Four digits tell 0.995 from 1; more than that is noise for latencies.
    text = f"{value:.0f}" if value >= 1000 else f"{value:.1f}"
    return text if found is None else f"{text} ({_ratio_text(found)})"


def _ratio_text(value: float) -> str:
    return f"{value:.3f}" if value < 2 else f"{value:.1f}"


def _span(band: Band) -> str:
    return f"{band.low:.2f} to {band.high:.2f}"


def plot(path: str, places: Mapping[str, Runs], figures: Sequence[Figure]) -> None:
    """Ratios to no filler on a log scale: a panel for each figure, a colour for each place.

    Small dots are repetitions, the large one is the ratio of medians, the bar
    behind is the A/A band. Raises ImportError without matplotlib.
    """
    import matplotlib as mpl  # noqa: PLC0415  # only for a plot

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415  # after use()
    from matplotlib import ticker  # noqa: PLC0415  # only for a plot

    shown = [figure for figure in figures if figure.compared]
    arms = list(dict.fromkeys(arm for runs in places.values() for arm in runs if arm != REFERENCE))
    columns = 2
    drawing, panels = plt.subplots(
        math.ceil(len(shown) / columns),
        columns,
        figsize=(4 + 1.3 * columns * len(arms), 2.8 * math.ceil(len(shown) / columns)),
        squeeze=False,
    )
    for panel, figure in zip(panels.flat, shown, strict=False):
        for number, (place, runs) in enumerate(places.items()):
            colour = f"C{number}"
            shift = (number - (len(places) - 1) / 2) * 0.8 / len(places)
            reference = median_of(runs.get(REFERENCE, ()), figure.name)
            band = band_of(runs, figure.name)
            if band is not None:
                panel.axhspan(band.low, band.high, color=colour, alpha=0.1, linewidth=0)
            for column, arm in enumerate(arms):
                values = values_of(runs.get(arm, ()), figure.name)
                ratios = [found for v in values if (found := ratio(v, reference)) is not None]
                if ratios:
                    panel.plot([column + shift] * len(ratios), ratios, ".", color=colour, alpha=0.5)
                    middle = statistics.median(ratios)
                    label = place if column == 0 else None
                    panel.plot(column + shift, middle, "o", color=colour, label=label)
        panel.set_yscale("log")
        # Powers of ten are too far apart for ratios near 1, which are what matters.
        panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        panel.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        panel.yaxis.set_minor_locator(ticker.NullLocator())
        low, high = panel.get_ylim()
        panel.set_ylim(min(low, 0.69), max(high, 1.6))
        panel.set_xlim(-0.6, len(arms) - 0.4)
        panel.tick_params(axis="y", labelsize=7)
        panel.axhline(1.0, linestyle=":", linewidth=0.8, color="black")
        panel.set_xticks(range(len(arms)), arms, fontsize=7)
        panel.set_title(figure.title, fontsize=9)
    for panel in list(panels.flat)[len(shown) :]:
        panel.set_visible(False)
    panels[0, 0].legend(fontsize=7)
    drawing.suptitle("Ratio to no filler")
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)
    plt.close(drawing)
