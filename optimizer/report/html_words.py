"""The words of the HTML report in each language; both have the same, by their type.

Braces are filled with `str.format`; what is filled in is escaped afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.model import Resource
from optimizer.outcome import EventKind
from optimizer.report import events_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """All that the page says by itself; `lang` is the value of the attribute of that name.

    `day` and `month` are formats for `day`, `month` (number) and `name`.
    `units` are those of durations, `policies`, `sizes`, `strategies`, `combinations` and `gaps`
    words of the configuration; what has no entry is shown as it is.
    """

    lang: str
    title: str
    period: str
    all_utc: str
    met: str
    not_met: str
    met_so_far: str
    not_met_so_far: str
    unknown: str
    not_judged: str
    policy_met: str
    policy_not_met: str
    policy_met_so_far: str
    policy_not_met_so_far: str
    policy_unknown: str
    resources: Mapping[Resource, str]
    statistics: Mapping[str, str]
    percentile: str
    of_days: str
    heading: str
    heading_unknown: str
    heading_not_judged: str
    heading_absent: str
    absent: Mapping[str, str]
    target: str
    target_label: str
    without_us_met: str
    without_us_not_met: str
    bounds: str
    bounds_met: str
    bounds_not_met: str
    bounds_open: str
    organic: str
    own: str
    total: str
    mean: str
    coverage: str
    window_coverage: str
    organic_p95: str
    organic_peak: str
    below: str
    hours: str
    own_core_hours: str
    core_hours: str
    capacity: str
    cpus: str
    gigabytes: str
    timeline: str
    timeline_aria: str
    last_day: str
    asked: str
    covered: str
    gap: str
    partly: str
    distribution: str
    distribution_note: str
    share_of_time: str
    heat: str
    heat_total: str
    heat_organic: str
    weekdays: tuple[str, ...]
    months: tuple[str, ...]
    day: str
    month: str
    days: str
    days_note: str
    weak: str
    faint: str
    earlier: str
    window_known: str
    card_bounds: str
    figures: str
    date: str
    judged: str
    verdict: str
    rightsizing: str
    events: str
    no_events: str
    more_events: str
    when: str
    what: str
    until: str
    by: str
    detail: str
    kinds: Mapping[EventKind, str]
    spans: Mapping[EventKind, str]
    faults: str
    notices: str
    from_to: str
    times: str
    units: Mapping[str, str]
    days_long: str
    began: str
    about: str
    host: str
    version: str
    policy: str
    source: str
    as_of: str
    strategy: str
    size: str
    combination: str
    gap_policy: str
    slots: str
    slots_say: str
    policies: Mapping[str, str]
    sizes: Mapping[str, str]
    strategies: Mapping[str, str]
    combinations: Mapping[str, str]
    gaps: Mapping[str, str]


EN = Words(
    lang="en",
    title="Utilisation of {host}",
    period="{start} to {end}, {lasting}",
    all_utc="all times are UTC",
    met="met",
    not_met="not met",
    met_so_far="met so far",
    not_met_so_far="not met so far",
    unknown="unknown",
    not_judged="not judged",
    policy_met="Policy met",
    policy_not_met="Policy not met",
    policy_met_so_far="Policy met so far",
    policy_not_met_so_far="Policy not met so far",
    policy_unknown="Not known whether the policy is met",
    resources={Resource.CPU: "CPU", Resource.MEMORY: "Memory", Resource.DISK: "Disk"},
    statistics={"mean": "mean", "peak": "peak"},
    percentile="p{percent}",
    of_days="{statistic} of {lasting}",
    heading="{resource}: {statistic} {figure} {sign} {target}, {verdict}",
    heading_unknown="{resource}: {statistic} unknown, target {target}",
    heading_not_judged="{resource}: not judged by this policy, mean {figure}",
    heading_absent="{resource}: not judged, {why}",
    absent={
        "no_data_disk": "this host has no data disk (DATA_DISK_ONLY)",
        "no_disk": "this host has no eligible disk",
    },
    target="target",
    target_label="target {target}",
    without_us_met="The organic load alone: {figure}, which meets the target too.",
    without_us_not_met="The organic load alone: {figure}, which would not meet the target.",
    bounds="Only {coverage} of the judged window is known. Whatever the missing minutes were, "
    "the figure lies between {low} and {high}",
    bounds_met=": the target is met in each case.",
    bounds_not_met=": the target is missed in each case.",
    bounds_open=": they could turn the verdict.",
    organic="organic",
    own="own",
    total="total",
    mean="mean of the period",
    coverage="known part of the period",
    window_coverage="known part of the judged window",
    organic_p95="organic, 95th percentile",
    organic_peak="organic, peak",
    below="known to be below the target",
    hours="{hours} h",
    own_core_hours="own CPU time",
    core_hours="{hours} core-hours",
    capacity="capacity",
    cpus="{count} CPUs",
    gigabytes="{count} GB",
    timeline="Organic and own load, stacked",
    timeline_aria="{resource}, {start} to {end}: organic {organic} and own {own} on average, "
    "target {target}; known {coverage}",
    last_day="The last 24 hours",
    asked="asked for {ratio}",
    covered="known {coverage}",
    gap="nothing known",
    partly="partly known",
    distribution="How often at which utilisation",
    distribution_note="share of the known time",
    share_of_time="{share} of the time",
    heat="Hour of the week",
    heat_total="total, mean of each hour",
    heat_organic="organic, mean of each hour",
    weekdays=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    months=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    day="{day} {name}",
    month="{name}",
    days="Verdict of each day",
    days_note="the judged figure of the window that ends with the day",
    weak="dashed: less than 95 % of its window known",
    faint="grey with a figure: less than half of its window known, the verdict is open",
    earlier="The history is kept for one judged window: those of earlier days begin before it, "
    "and are known in part.",
    window_known="window known",
    card_bounds="known {coverage}: between {low} and {high}",
    figures="Figures of each day",
    date="day",
    judged="judged figure",
    verdict="verdict",
    rightsizing="What the organic load alone would need",
    events="Events",
    no_events="No events in this period.",
    more_events="The last {shown} of {count}; all of them are in the history: "
    "optimizer report --json.",
    when="when",
    what="what",
    until="until",
    by="by",
    detail="detail and reason",
    kinds=events_text.WORDS,
    spans={
        EventKind.PAUSED: "paused",
        EventKind.MAINTENANCE_BEGAN: "maintenance",
        EventKind.PRESSURE_BEGAN: "memory short",
        EventKind.STOPPED: "stopped",
    },
    faults="crash or fault",
    notices="other event",
    from_to="{start} to {end}",
    times="{count} times",
    units={},
    days_long="{days} days",
    began="recording began on {start}",
    about="About this report",
    host="host",
    version="CloudResourceOptimizer",
    policy="policy",
    source="source",
    as_of="as of {date}",
    strategy="strategy",
    size="size of the host",
    combination="resources count",
    gap_policy="missing minutes",
    slots="judged slots",
    slots_say="{seconds} s; neighbouring rows are averaged into a slot first, so percentiles and "
    "peaks are of these means and not of single rows",
    policies={},
    sizes={"small": "small host", "medium": "medium host", "large": "large host"},
    strategies={
        "hold": "hold: never below the target, and back to it when the window is behind",
        "economy": "economy: the least own load that keeps each window met",
    },
    combinations={
        "meet_all": "all judged resources must reach their target",
        "break_any": "one resource that reaches its target suffices",
    },
    gaps={"unknown": "do not count", "zero": "count as 0"},
)
