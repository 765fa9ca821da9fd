"""The planner on samples: catch-up, economy, withdrawal, break_any, limits, restarts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from optimizer.control.goals import needed_days, told_days
from optimizer.control.planner import Planner, setpoint
from optimizer.model import (
    Decision,
    Intent,
    PerResource,
    Plan,
    Reason,
    Resource,
    Sample,
    Utilisation,
)
from optimizer.orders import (
    Combination,
    Gaps,
    Goal,
    Inhibit,
    Policy,
    Statistic,
    Strategy,
    Terms,
)
from optimizer.outcome import Outlook, Past
from optimizer.report.status import _judged
from tests.fakes import policy

DAY_S = 86_400
START_S = 20_000 * DAY_S
"""A midnight."""
SLOT_S = 1800
"""Samples of half an hour make a month quick; the planner takes any interval."""


def rules(cpu: float = 0.25, **terms: object) -> Policy:
    """A policy that judges the CPU only, unless the terms say otherwise."""
    given: dict[str, object] = {
        "goals": PerResource(cpu=Goal(), memory=None, disk=None),
        **terms,
    }
    return replace(policy(cpu=cpu, memory=0.4, disk=0.4), terms=Terms(**given))  # type: ignore[arg-type]


def a_plan(**reasons: Reason) -> Plan:
    """A plan in which each resource holds, or is for the reason given."""

    def one(resource: Resource) -> Decision:
        return Decision(
            resource=resource,
            target_ratio=0.25,
            setpoint_ratio=0.25,
            wanted_ratio=0.0,
            demand_ratio=0.0,
            lease=0.0,
            reason=reasons.get(resource.value, Reason.HOLDING),
        )

    return PerResource(cpu=one(Resource.CPU), memory=one(Resource.MEMORY), disk=one(Resource.DISK))


def used(total: float, own: float = 0.0) -> Utilisation:
    """A utilisation of a host with one CPU."""
    return Utilisation(total_ratio=total, own_ratio=own, capacity=1.0, room_ratio=1.0 - total)


def a_sample(slot: int, cpu: float | None, own: float = 0.0, memory: float = 0.4) -> Sample:
    """The sample that ends with a slot."""
    return Sample(
        utc_s=START_S + (slot + 1) * SLOT_S,
        span_s=SLOT_S,
        usage=PerResource(
            cpu=None if cpu is None else used(cpu, own), memory=used(memory), disk=used(0.4)
        ),
        steal_ratio=0.0,
    )


def live(
    planner: Planner,
    rule: Policy,
    slots: range,
    tenant: Callable[[int], float | None],
    **reasons: Reason,
) -> tuple[list[float], Outlook]:
    """Let an ideal governor fill each slot up to the setpoint; the totals, and the last outlook."""
    totals: list[float] = []
    outlook = planner.take(a_sample(slots[0], tenant(slots[0])), a_plan(**reasons), rule).cpu
    for slot in slots[1:]:
        organic = tenant(slot)
        if organic is None:
            sample = a_sample(slot, None)
        else:
            total = max(organic, outlook.setpoint_ratio)
            totals.append(total)
            sample = a_sample(slot, total, total - organic)
        outlook = planner.take(sample, a_plan(**reasons), rule).cpu
    return totals, outlook


def days(start: float, end: float) -> range:
    """The slots of these days."""
    return range(round(start * DAY_S / SLOT_S), round(end * DAY_S / SLOT_S))


def past(slots: range, total: float) -> list[Past]:
    """A history in which the CPU was used by others alone."""
    return [
        Past(START_S + (slot + 1) * SLOT_S, SLOT_S, PerResource(
            cpu=(total, total), memory=(0.4, 0.4), disk=(0.4, 0.4)
        ))
        for slot in slots
    ]  # fmt: skip


def test_half_a_window_at_20_makes_the_other_half_30() -> None:
    """C-28 b: mean 20 % for 15 days at goal 25 gives 30 % for the other 15, and says until when."""
    rule = rules()
    planner = Planner(rule, SLOT_S, past(days(0, 15), 0.20))
    totals, outlook = live(planner, rule, days(15, 16), lambda _: 0.05)
    assert totals[10] == pytest.approx(0.30, abs=0.002)
    assert outlook.intent is Intent.CATCHING_UP
    assert outlook.met is False
    assert outlook.eta_s == pytest.approx(14 * DAY_S, rel=0.1)
    totals, outlook = live(planner, rule, days(16, 30), lambda _: 0.05)
    assert outlook.met is True
    assert outlook.ratio == pytest.approx(0.25, abs=0.002)
    assert totals[-1] == pytest.approx(0.30, abs=0.01)


def test_catching_up_is_bounded_and_ends() -> None:
    """After 29 days at 5 % no more than 10 points are added, and then the target holds again."""
    rule = rules()
    planner = Planner(rule, SLOT_S, past(days(0, 30), 0.05))
    totals, outlook = live(planner, rule, days(30, 34), lambda _: 0.05)
    assert max(totals) == pytest.approx(0.35)
    assert outlook.met is False
    # A rolling window: K(e) + (0.35 - 0.25) e = 0 with 26 days at 5 % left: 20 of 30 days.
    assert outlook.eta_s == pytest.approx((20 - 4) * DAY_S, rel=0.15)
    totals, outlook = live(planner, rule, days(34, 65), lambda _: 0.05)
    assert outlook.met is True
    assert totals[-1] == pytest.approx(0.25, abs=0.012)


def test_another_target_counts_with_the_next_sample() -> None:
    """Samples of a second, plans of a minute: a changed policy does not wait for the minute."""
    planner = Planner(rules(), 1.0)

    def take(second: int, rule: Policy) -> Outlook:
        usage = PerResource(cpu=used(0.5), memory=used(0.5), disk=used(0.5))
        sample = Sample(utc_s=START_S + second, span_s=1, usage=usage, steal_ratio=0.0)
        return planner.take(sample, a_plan(), rule).cpu

    assert take(1, rules(0.25)).setpoint_ratio == pytest.approx(0.25)
    assert take(2, rules(0.60)).setpoint_ratio == pytest.approx(0.60)


def test_hold_is_never_below_the_target() -> None:
    """Whatever the tenant saved up before, hold does not go below the target now."""
    rule = rules()
    planner = Planner(rule, SLOT_S, past(days(0, 20), 0.90))
    totals, outlook = live(planner, rule, days(20, 22), lambda _: 0.05)
    assert min(totals) == pytest.approx(0.25)
    assert outlook.intent is Intent.HELD


def test_a_limited_load_is_asked_for_no_more_than_its_target() -> None:
    """No windup: while memory pressure or the like holds the load down, nothing is stored up."""
    rule = rules()
    planner = Planner(rule, SLOT_S, past(days(0, 15), 0.20))
    for reason in (Reason.FLOOR, Reason.CPU_LIMITED, Reason.OWN_HOURS, Reason.STRESSER_DOWN):
        _, outlook = live(planner, rule, days(15, 15.1), lambda _: 0.05, cpu=reason)
        assert outlook.setpoint_ratio == 0.25
        assert outlook.intent is Intent.LIMITED
        assert outlook.eta_s is None
    _, outlook = live(planner, rule, days(15.1, 15.2), lambda _: 0.05)
    assert outlook.setpoint_ratio == pytest.approx(0.30, abs=0.005)


@pytest.mark.parametrize("statistic", ["mean", "p95", "peak"])
def test_economy_never_bets(statistic: str) -> None:
    """A tenant with a fine rhythm dies for good on day 40: every window is met all the same."""
    goal = Goal(statistic=Statistic.parse(statistic), window_days=10)
    rule = rules(strategy=Strategy.ECONOMY, goals=PerResource(cpu=goal, memory=None, disk=None))
    planner = Planner(rule, SLOT_S)

    def tenant(slot: int) -> float:
        hour = slot * SLOT_S % DAY_S / 3600
        return 0.0 if slot >= days(0, 40).stop else 0.45 if 9 <= hour < 17 else 0.1

    totals, outlook = live(planner, rule, days(0, 60), tenant)
    assert outlook.met is True
    window = days(0, 10).stop
    for end in range(window, len(totals), 7):
        assert judged(totals[end - window : end], statistic) >= 0.25 - 1e-6, end / 144


def test_what_is_due_is_set_whatever_the_forecast_says() -> None:
    """Busy by day for weeks, gone for good one morning: the forecast sees no need, the window has.

    Economy with the least margin and little room to catch up: half of the
    margin is kept by force.
    """
    goal = Goal(window_days=10)
    rule = rules(
        strategy=Strategy.ECONOMY,
        goals=PerResource(cpu=goal, memory=None, disk=None),
        margin_ratio=0.0005,
        catch_up_ratio=0.02,
    )
    planner = Planner(rule, SLOT_S)

    def tenant(slot: int) -> float:
        if slot >= days(0, 20 + 9 / 24).stop:
            return 0.0
        return 0.9 if 9 <= slot * SLOT_S % DAY_S / 3600 < 17 else 0.0

    totals, _ = live(planner, rule, days(0, 24), tenant)
    window = days(0, 10).stop
    means = [judged(totals[end - window : end], "mean") for end in range(window, len(totals))]
    assert min(means) >= 0.25 + 0.0005 / 2 - 1e-6


def test_economy_costs_no_more_than_hold_where_the_tenant_never_reaches_the_target() -> None:
    """5 % always, 25 % wanted: economy comes no higher than hold, which aims 0.05 points above."""
    rule = rules(strategy=Strategy.ECONOMY)
    totals, outlook = live(Planner(rule, SLOT_S), rule, days(0, 60), lambda _: 0.05)
    assert outlook.met
    month = totals[-days(0, 30).stop :]
    assert 0.25 <= sum(month) / len(month) <= 0.2505 + 1e-6


def test_economy_takes_its_time_to_make_up_a_margin() -> None:
    """A month of hold at 25.05 %, the tenant above it at noon: no jump to the cap for 0.3 points.

    Hold's windows lie above the goal, so only the margin lacks: a point is enough.
    """

    def tenant(slot: int) -> float:
        return 0.32 if slot % 48 == 24 else 0.05

    def before(slot: int) -> Past:
        share = max(0.2505, tenant(slot)), tenant(slot)
        usage = PerResource(cpu=share, memory=(0.4, 0.4), disk=(0.4, 0.4))
        return Past(START_S + (slot + 1) * SLOT_S, SLOT_S, usage)

    rule = rules(strategy=Strategy.ECONOMY, margin_ratio=0.01)
    planner = Planner(rule, SLOT_S, map(before, days(0, 30)))
    steps = [live(planner, rule, days(day, day + 1), tenant) for day in range(30, 50)]
    assert all(outlook.met for _, outlook in steps)
    assert max(outlook.setpoint_ratio for _, outlook in steps) <= 0.26 + 1e-9
    assert max(total for totals, _ in steps for total in totals) <= 0.32


def judged(totals: list[float], statistic: str) -> float:
    """The statistic of a full window, in the plainest way."""
    if statistic == "mean":
        return sum(totals) / len(totals)
    ordered = sorted(totals)
    return ordered[-1] if statistic == "peak" else ordered[int(0.95 * (len(ordered) - 1))]


def test_economy_puts_load_where_the_tenant_is_quiet() -> None:
    """By day the tenant has 30 %, by night 5 %: own load by night, and the mean is the target."""
    rule = rules(strategy=Strategy.ECONOMY)
    planner = Planner(rule, SLOT_S)

    def tenant(slot: int) -> float:
        return 0.20 if 8 <= slot * SLOT_S % DAY_S / 3600 < 20 else 0.05

    live(planner, rule, days(0, 40), tenant)
    totals, outlook = live(planner, rule, days(40, 50), tenant)
    own = [t - tenant(slot) for slot, t in zip(days(40, 50)[1:], totals, strict=True)]
    by_day = [x for slot, x in zip(days(40, 50)[1:], own, strict=True) if tenant(slot) == 0.20]
    assert sum(by_day) < 0.1 * sum(own)
    assert outlook.met is True


def test_a_percentile_costs_a_little_more_than_its_share_of_the_time() -> None:
    """For p95 of 7 days the load is raised in 5 to 8 % of the time, not more."""
    goal = Goal(statistic=Statistic.parse("p95"), window_days=7)
    rule = rules(strategy=Strategy.ECONOMY, goals=PerResource(cpu=goal, memory=None, disk=None))
    planner = Planner(rule, SLOT_S)
    totals, outlook = live(planner, rule, days(0, 28), lambda _: 0.04)
    raised = sum(1 for total in totals if total >= 0.25) / len(totals)
    assert 0.05 <= raised <= 0.08
    assert outlook.met is True


def test_own_load_is_withdrawn_before_a_recurring_peak() -> None:
    """C-28 a: a tenant that needs 60 % at 02:00 each day finds our load gone minutes before."""
    rule = rules(cpu=0.4)
    planner = Planner(rule, 60.0)

    def tenant(minute: int) -> float:
        return 0.6 if 120 <= minute % 1440 < 150 else 0.05

    seen: dict[int, Outlook] = {}
    outlook: Outlook | None = None
    for minute in range(5 * 1440):
        organic = tenant(minute)
        total = max(organic, outlook.setpoint_ratio if outlook else 0.4)
        sample = Sample(
            utc_s=START_S + (minute + 1) * 60,
            span_s=60,
            usage=PerResource(cpu=used(total, total - organic), memory=used(0.4), disk=used(0.4)),
            steal_ratio=0.0,
        )
        seen[minute] = outlook = planner.take(sample, a_plan(), rule).cpu
    day = 4 * 1440
    assert seen[day + 110].setpoint_ratio >= 0.4
    for minute in (115, 117, 119):
        assert seen[day + minute].intent is Intent.WITHDRAWN
        assert seen[day + minute].setpoint_ratio < 0.1
    assert seen[day + 160].setpoint_ratio >= 0.4


@pytest.mark.parametrize("ahead_minutes", [5, 15, 40, 60])
def test_load_stays_withdrawn_until_the_peak(ahead_minutes: int) -> None:
    """80 % for an hour from 02:00, for a week: down at most until then, from `ahead` minutes on."""
    rule = rules(withdraw_s=ahead_minutes * 60.0)
    minute_s, day = 60, 1440

    def tenant(minute: int) -> float:
        return 0.8 if 120 <= minute % day < 180 else 0.05

    def before(minute: int) -> Past:
        share = max(0.2505, tenant(minute)), tenant(minute)
        usage = PerResource(cpu=share, memory=(0.4, 0.4), disk=(0.4, 0.4))
        return Past(START_S + (minute + 1) * minute_s, minute_s, usage)

    begin = 8 * day + 30
    planner = Planner(rule, minute_s, map(before, range(begin)))
    levels = []
    for minute in range(begin, 8 * day + 120):
        sample = replace(
            a_sample(0, 0.25, 0.2),
            utc_s=START_S + (minute + 1) * minute_s,
            span_s=float(minute_s),
        )
        levels.append(planner.take(sample, a_plan(), rule).cpu.setpoint_ratio)
    # The sample that ends at 02:00 - ahead is the last one held in full.
    full = [at for at, level in enumerate(levels) if level >= 0.25]
    low = [at for at, level in enumerate(levels) if level < 0.1]
    assert len(low) >= ahead_minutes - 1
    assert low == list(range(low[0], len(levels)))
    assert full == list(range(low[0]))


def test_hold_withdraws_only_what_the_windows_can_afford() -> None:
    """20 % each hour for a quarter hour: every window of a day after the first is met all the same.

    Else 3 % are used, and 25 % are the goal: 22 points each hour would be too many.
    """
    rule = rules(
        goals=PerResource(cpu=Goal(window_days=1), memory=None, disk=None), withdraw_s=300.0
    )
    planner, day = Planner(rule, 60), 1440
    intents, totals = set(), []
    outlook = planner.take(a_sample(0, None), a_plan(), rule).cpu
    for minute in range(5 * day):
        organic = 0.20 if minute % 60 < 15 else 0.03
        total = max(organic, outlook.setpoint_ratio)
        totals.append(total)
        sample = replace(
            a_sample(0, total, total - organic),
            utc_s=START_S + DAY_S + (minute + 1) * 60,
            span_s=60.0,
        )
        outlook = planner.take(sample, a_plan(), rule).cpu
        intents.add(outlook.intent)
    assert Intent.WITHDRAWN in intents
    sums = [0.0]
    for total in totals:
        sums.append(sums[-1] + total)
    means = [(sums[end] - sums[end - day]) / day for end in range(day, len(sums))]
    assert min(means) >= 0.25 - 1e-6


@pytest.mark.parametrize(("reason", "limited"), [("CEILING", False), ("INHIBITED", True)])
def test_what_counts_as_a_limit(reason: str, limited: bool) -> None:
    """A setpoint at the ceiling is no limit of itself; a pause is one, and nothing is promised."""
    rule = rules()
    planner = Planner(rule, SLOT_S, past(days(0, 30), 0.2))
    _, outlook = live(planner, rule, days(30, 31), lambda _: 0.2, cpu=Reason[reason])
    assert outlook.limited is limited
    assert (outlook.eta_s is None) is limited
    assert (outlook.setpoint_ratio > 0.25) is not limited


def test_one_resource_suffices_where_any_breaks_the_rule() -> None:
    """Memory above its target spares the CPU; when memory is limited, the CPU takes over."""
    p95 = Goal(statistic=Statistic.parse("p95"), window_days=7)
    mean = Goal(window_days=7)
    rule = rules(
        cpu=0.2,
        combination=Combination.BREAK_ANY,
        goals=PerResource(cpu=p95, memory=mean, disk=None),
    )
    rule = replace(rule, target=PerResource(cpu=0.2, memory=0.2, disk=0.0))
    planner = Planner(rule, SLOT_S)
    for slot in range(20):
        outlooks = planner.take(a_sample(slot, 0.02, memory=0.22), a_plan(), rule)
    assert outlooks.memory.setpoint_ratio == pytest.approx(0.22)
    assert outlooks.cpu.intent is Intent.ELSEWHERE
    assert outlooks.cpu.setpoint_ratio == 0.0
    limited = a_plan(memory=Reason.PRESSURE)
    outlooks = planner.take(a_sample(20, 0.02, memory=0.1), limited, rule)
    assert outlooks.cpu.setpoint_ratio >= 0.2


def test_gaps_do_not_count_or_count_as_zero() -> None:
    """Ten days off: not counted, the mean stays; counted as zero, the window is behind."""
    for gaps, met in ((Gaps.UNKNOWN, True), (Gaps.ZERO, False)):
        rule = rules(gaps=gaps)
        planner = Planner(rule, SLOT_S, past(days(0, 30), 0.26))
        _, outlook = live(planner, rule, days(30, 40), lambda _: None)
        _, outlook = live(planner, rule, days(40, 40.1), lambda _: 0.26)
        assert outlook.met is met
        assert outlook.coverage == pytest.approx(2 / 3, abs=0.01)
        assert outlook.low <= (outlook.ratio or 0.0) <= outlook.high


def test_a_restart_goes_on_where_it_was() -> None:
    """A planner that reads the history plans what the one that lived through it plans."""
    rule = rules()
    lived = Planner(rule, SLOT_S)
    for slot in days(0, 12):
        lived.take(a_sample(slot, 0.2), a_plan(), rule)
    born = Planner(rule, SLOT_S, past(days(0, 12), 0.2))
    after = a_sample(days(0, 12).stop, 0.2)
    ours, theirs = lived.take(after, a_plan(), rule).cpu, born.take(after, a_plan(), rule).cpu
    assert ours.setpoint_ratio == pytest.approx(theirs.setpoint_ratio)
    assert ours.ratio == pytest.approx(theirs.ratio)


def test_time_without_a_daemon_stays_unknown_when_samples_begin_again() -> None:
    """A window of a day, three hours off, then samples of five seconds: 21 of 24 hours are known.

    The sample that begins a minute must not bring the time before the gap back.
    """
    rule = rules(goals=PerResource(cpu=Goal(window_days=1), memory=None, disk=None))

    def before(minute: int) -> Past:
        usage = PerResource(cpu=(0.25, 0.05), memory=(0.4, 0.4), disk=(0.4, 0.4))
        return Past(START_S + minute * 60 + 30.0, 60.0, usage)

    planner = Planner(rule, 60, map(before, range(1, 1441)))
    begin_s = START_S + DAY_S + 3 * 3600.0
    planner.resume(begin_s + 30.0)
    for count in range(1, 20):
        sample = replace(a_sample(0, 0.25, 0.2), utc_s=begin_s + 30.0 + 5 * count, span_s=5.0)
        coverage = planner.take(sample, a_plan(), rule).cpu.coverage
        assert coverage == pytest.approx(21 / 24, abs=0.002)


def test_nothing_known_means_the_target() -> None:
    """A sensor that never works raises nothing above the target, and no figure is made up."""
    for strategy in Strategy:
        rule = rules(strategy=strategy)
        planner = Planner(rule, SLOT_S)
        for slot in range(50):
            outlook = planner.take(a_sample(slot, None), a_plan(), rule).cpu
        assert outlook.setpoint_ratio <= 0.26
        assert outlook.ratio is None
        assert outlook.met is None


def test_an_inhibit_and_the_ceiling_come_before_the_plan() -> None:
    """The planner cannot raise what an operator forbade, nor pass a ceiling."""
    rule = rules()
    planned = PerResource(cpu=0.95, memory=0.5, disk=0.5)
    order = Inhibit(reason="x", by="y", until_utc_s=None)
    assert setpoint(Resource.CPU, rule, order, planned) == 0.0
    assert setpoint(Resource.CPU, rule, None, planned) == 0.9
    assert setpoint(Resource.CPU, rule, None, None) == 0.25


def test_a_clock_that_is_set_back_and_forth_does_no_harm() -> None:
    """A jump of a year ahead and back: values in range, and the target is held."""
    rule = rules()
    planner = Planner(rule, SLOT_S, past(days(0, 3), 0.3))
    for slot in (500, 501, 60_000, 60_001, 502, 503, 40, 504):
        outlook = planner.take(a_sample(slot, 0.3), a_plan(), rule).cpu
        assert 0.25 <= outlook.setpoint_ratio <= 0.35
        assert 0.0 <= outlook.coverage <= 1.0


def test_a_planner_is_told_of_five_weeks_but_of_no_more_than_is_kept() -> None:
    """The forecast makes use of 35 days; what is judged is needed in any case, and no more kept."""
    rule = rules(goals=PerResource(cpu=Goal(window_days=7), memory=None, disk=None))
    assert [told_days(rule, kept) for kept in (3, 30, 90)] == [7, 30, 35]
    assert needed_days(rule) == 7
    long = rules(goals=PerResource(cpu=Goal(window_days=60), memory=None, disk=None))
    assert told_days(long, 30) == 60


@pytest.mark.parametrize("statistic", ["mean", "p95"])
@pytest.mark.parametrize("strategy", list(Strategy))
def test_what_was_before_a_window_has_no_part_in_its_figure(
    statistic: str, strategy: Strategy
) -> None:
    """At 80 % until its first slot: figure, bounds and ETA are as if nothing had been."""
    goal = Goal(statistic=Statistic.parse(statistic), window_days=2)
    rule = rules(strategy=strategy, goals=PerResource(cpu=goal, memory=None, disk=None))
    before, since = past(days(0, 9), 0.8), past(days(9, 11), 0.2)
    found = [Planner(rule, SLOT_S, one).aim(rule).cpu for one in ([*before, *since], since)]
    for name in ("ratio", "low", "high", "coverage", "met", "eta_s", "intent", "setpoint_ratio"):
        assert getattr(found[0], name) == pytest.approx(getattr(found[1], name)), name


def test_economy_holds_memory_and_disk_as_hold_does() -> None:
    """The mean of a tenant of 10 %, and of one above the target by day: the same levels as held."""
    goals = PerResource(cpu=Goal(window_days=5), memory=Goal(window_days=5), disk=None)
    for busy in (0.1, 0.7):
        levels = []
        for strategy in Strategy:
            rule = rules(strategy=strategy, goals=goals)
            planner, level = Planner(rule, SLOT_S), 0.4
            course = []
            for slot in days(0, 8):
                organic = busy if slot % 48 >= 24 else 0.1
                sample = a_sample(slot, 0.3, memory=max(level, organic))
                level = planner.take(sample, a_plan(), rule).memory.setpoint_ratio
                course.append(level)
            levels.append(course)
        assert levels[0] == levels[1]
        assert min(levels[1]) >= 0.4


def test_status_shows_how_the_forecast_did_beside_seasonal_naive() -> None:
    """A daily rhythm with a little noise: both errors; where no last day is known, neither."""
    rule = rules(goals=PerResource(cpu=Goal(window_days=5), memory=None, disk=None))
    course = [0.5 if slot % 48 >= 24 else 0.1 + slot % 11 / 100 for slot in days(0, 16)]
    known = [past(range(slot, slot + 1), one)[0] for slot, one in enumerate(course)]
    shown = _judged(Planner(rule, SLOT_S, known).aim(rule).cpu)
    assert shown is not None
    assert 0 < shown["forecast_error"] <= shown["naive_error"]  # type: ignore[operator]
    unknown = replace(known[0].usage, cpu=(None, None))
    gone = [*known[: 3 * 48], *(one._replace(usage=unknown) for one in past(days(13, 14), 0.0))]
    shown = _judged(Planner(rule, SLOT_S, gone).aim(rule).cpu)
    assert shown is not None
    assert shown["forecast"] is not None
    assert (shown["forecast_error"], shown["naive_error"]) == (None, None)
