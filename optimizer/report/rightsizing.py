"""What the organic load alone would need, from what was seen of it; an estimate, and it says so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optimizer.model import Resource
from optimizer.report.account import Account

FREE_RATIO = 0.20
"""What stays free when the load is at its 95th percentile."""
ENOUGH_DAYS = 7.0
"""Less than a whole week known: days of the week that nobody has seen may need more."""
_GIB = float(1 << 30)
LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Of one resource, in CPUs or GiB: used at the percentile and at most, needed, and there.

    `needed` is the percentile with what stays free, for memory at least the
    peak: a program waits for CPU time, but ends without memory. `suggested` is
    the next whole number, None when more is needed than the host has.
    """

    resource: Resource
    p95: float
    peak: float
    needed: float
    has: float
    suggested: int | None


def need(account: Account, resource: Resource) -> Need | None:
    """None for the disk, and where nothing or no capacity is known."""
    of = account.of.of(resource)
    known = of.organic_p95_ratio, of.organic_peak_ratio, of.capacity
    p95, peak, capacity = known
    if resource is Resource.DISK or p95 is None or peak is None or not capacity:
        return None
    has = capacity if resource is Resource.CPU else capacity / _GIB
    needed = p95 * has / (1.0 - FREE_RATIO)
    if resource is Resource.MEMORY:
        needed = max(needed, peak * has)
    suggested = max(1, math.ceil(needed - 1e-9))
    return Need(
        resource=resource,
        p95=p95 * has,
        peak=peak * has,
        needed=needed,
        has=has,
        suggested=suggested if needed <= has else None,
    )


def sentences(account: Account, language: str) -> list[str]:
    """The paragraph, sentence by sentence; raises KeyError for a language that is not here."""
    words = _WORDS[language]
    needs = [one for one in (need(account, r) for r in Resource) if one is not None]
    if not needs:
        return [words["nothing"]]
    said = [_say(one, words) for one in needs]
    known_days = min(account.of.of(one.resource).coverage for one in needs) * account.days
    said.append(words["basis"].format(days=f"{known_days:.1f}", free=f"{100 * FREE_RATIO:.0f}"))
    if round(known_days, 1) < ENOUGH_DAYS:
        said.append(words["short"])
    if any(one.suggested is not None and one.suggested < one.has for one in needs):
        said.append(words["class"])
    return said


def _say(one: Need, words: dict[str, str]) -> str:
    is_cpu = one.resource is Resource.CPU
    facts = {
        "name": words[one.resource.value],
        "unit": words["cpus" if is_cpu else "gib"],
        "one": words["cpu_one" if is_cpu and one.suggested == 1 else "cpus" if is_cpu else "gib"],
        "p95": f"{one.p95:.2f}",
        "peak": f"{one.peak:.2f}",
        "needed": f"{one.needed:.2f}",
        "has": f"{one.has:.4g}",
        "suggested": one.suggested,
    }
    if one.suggested is None:
        return words["more"].format(**facts)
    kind = "less" if one.suggested < one.has else "fits"
    return words[kind].format(**facts)


_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "cpu": "CPU",
        "memory": "Memory",
        "cpus": "CPUs",
        "cpu_one": "CPU",
        "gib": "GiB",
        "nothing": "Nothing is known of the organic load, so nothing can be said of its size.",
        "less": (
            "{name}: the organic load used {p95} {unit} at its 95th percentile and {peak} at "
            "most; {suggested} {one} would do for it, the host has {has}."
        ),
        "fits": (
            "{name}: the organic load used {p95} {unit} at its 95th percentile and {peak} at "
            "most; it needs what the host has, {has} {unit}."
        ),
        "more": (
            "{name}: the organic load used {p95} {unit} at its 95th percentile and {peak} at "
            "most; with room it needs {needed}, more than the {has} {unit} of the host."
        ),
        "basis": (
            "This is an estimate from {days} known days: {free} % stays free at the 95th "
            "percentile, and memory for the peak."
        ),
        "short": "That is less than a week, so it may have missed the busy days.",
        "class": "A smaller host may be in another size class, with another target.",
    },
    "zh": {
        "cpu": "CPU",
        "memory": "内存",
        "cpus": "个 CPU",
        "cpu_one": "个 CPU",
        "gib": "GiB",
        "nothing": "没有关于业务自身负载的数据，因此无法给出规格建议。",
        "less": (
            "{name}：业务自身负载的第 95 百分位为 {p95} {unit}，峰值为 {peak} {unit}；"
            "{suggested} {unit} 即可满足，本机有 {has} {unit}。"
        ),
        "fits": (
            "{name}：业务自身负载的第 95 百分位为 {p95} {unit}，峰值为 {peak} {unit}；"
            "需要本机现有的全部 {has} {unit}。"
        ),
        "more": (
            "{name}：业务自身负载的第 95 百分位为 {p95} {unit}，峰值为 {peak} {unit}；"
            "留出余量后需要 {needed} {unit}，超过本机的 {has} {unit}。"
        ),
        "basis": (
            "以上是根据 {days} 天已知数据作出的估计：第 95 百分位时仍有 {free} % 空闲，"
            "内存另按峰值预留。"
        ),
        "short": "数据不足一周，可能未包含繁忙的日子。",
        "class": "更小的主机可能属于另一个规格等级，目标值也会不同。",
    },
}
