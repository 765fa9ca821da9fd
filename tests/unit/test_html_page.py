"""The HTML report as a whole: safe, well-formed, small, and the same in both languages."""

from __future__ import annotations

import base64
import hashlib
import re
import string
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from html.parser import HTMLParser

import pytest

from optimizer.control.statistic import Figure
from optimizer.model import PerResource
from optimizer.outcome import EventKind
from optimizer.report.account import Account
from optimizer.report.html import page
from optimizer.report.html_style import DARK, LIGHT
from optimizer.report.html_words import Words
from optimizer.report.html_words_zh import LANGUAGES
from tests.unit import account_samples as samples

VOID = {"meta", "br", "img", "link"}
SAMPLES: dict[str, Callable[[], Account]] = {
    "month": samples.month,
    "empty": samples.empty,
    "holed": samples.holed,
    "crowded": samples.crowded,
    "hostile": samples.hostile,
    "an hour": lambda: samples.lasting(1 / 24),
    "a year": lambda: samples.lasting(366),
}


class Seen(HTMLParser):
    """What a browser would find, and whether each element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, bool]] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        """Texts and labels of the page itself, without what is marked as English."""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.add(tag)
        named = {name: value or "" for name, value in attrs}
        assert len(named) == len(attrs), (tag, attrs)
        self.attributes += [(tag, name, value) for name, value in named.items()]
        foreign = named.get("lang") == "en" and tag != "html"
        if tag not in VOID:
            self.open.append((tag, foreign))
        if not self.foreign:
            self.words.append(named.get("aria-label", ""))

    def handle_endtag(self, tag: str) -> None:
        """It must be the one that is open."""
        assert self.open.pop()[0] == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As in `<path/>`: opened and closed."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    @property
    def foreign(self) -> bool:
        """Within something that is marked as English."""
        return any(foreign for _, foreign in self.open)

    def handle_data(self, data: str) -> None:
        """Texts, and the style sheets apart."""
        if self.open and self.open[-1][0] == "style":
            self.styles.append(data)
        elif not self.foreign:
            self.words.append(data)


@cache
def made(name: str, language: str) -> str:
    """The page of a sample."""
    return page(SAMPLES[name](), language)


def plain(account: Account) -> str:
    """The page in English, with ordinary spaces."""
    return page(account, "en").replace("\u00a0", " ")


@cache
def seen(text: str) -> Seen:
    """As parsed."""
    return Seen(text)


@pytest.fixture(params=[(s, lang) for s in SAMPLES for lang in LANGUAGES], ids=str)
def text(request: pytest.FixtureRequest) -> str:
    """Each sample in each language."""
    name, language = request.param
    return made(name, language)


def test_it_is_well_formed(text: str) -> None:
    """Each element is closed, each id is there once, each picture is XML, and it is UTF-8."""
    found = seen(text)
    ids = [value for _, name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, name, value in found.attributes if name == "href"}
    assert targets <= set(ids)
    pictures = re.findall(r'<svg class="area".*?</svg></div>', text, re.DOTALL)
    for picture in pictures:
        ET.fromstring(picture.removesuffix("</div>"))  # noqa: S314 - our own
        assert 'role="img"' in picture
        assert 'aria-label="' in picture
    text.encode()


def test_nothing_in_it_runs_or_is_fetched(text: str) -> None:
    """No script, handler, style attribute, picture file or address, whatever the texts say."""
    found = seen(text)
    assert not found.tags & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in {"style", "src", "action", "xlink:href", "background"}, (tag, name)
        if name == "href":
            assert value.startswith("#")
    (style,) = found.styles
    assert set(re.findall(r"url\([^)]*\)", style)) == {"url(#hatch)"}
    assert "@import" not in style
    assert "://" not in text


def test_the_policy_allows_the_style_sheet_by_its_hash_and_nothing_else(text: str) -> None:
    """The hash in the policy is that of the text between the style tags."""
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    # A policy binds only what comes after it.
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_what_others_wrote_is_shown_as_text() -> None:
    """A host, a reason and a person with markup in their names appear as they are."""
    found = seen(made("hostile", "zh"))
    shown = samples.HOSTILE.replace("\u202e", "?").replace("\x1b", "?")
    assert any(shown in word for word in found.words)
    assert not any("\u202e" in word or "\x1b" in word for word in found.words)


@pytest.mark.parametrize("name", ["month", "crowded", "hostile"])
def test_thirty_days_stay_below_half_a_megabyte(name: str) -> None:
    """Also with ten thousand events, or with reasons of a hundred thousand characters."""
    for language in LANGUAGES:
        assert len(made(name, language).encode()) < 500_000


def test_the_verdicts_come_first() -> None:
    """Heading of each resource by hand: the known mean against the target."""
    account = samples.month()
    judged = replace(
        account.of.cpu,
        figure=Figure(ratio=0.4024, low=0.39, high=0.41, coverage=0.98),
        met=True,
        certain=True,
    )
    missed = replace(
        account.of.memory,
        figure=Figure(ratio=0.39996, low=0.3, high=0.5, coverage=0.9),
        organic_figure=Figure(ratio=0.125, low=0.1, high=0.2, coverage=0.9),
        met=False,
        certain=False,
    )
    watched = replace(account.of.disk, total_ratio=0.4104)
    text = plain(
        replace(account, of=PerResource(cpu=judged, memory=missed, disk=watched), met=False)
    )
    assert "<h2>CPU: mean of 30 days 40.2 % ≥ 40 %, met</h2>" in text
    # 40.0 % would look like a target that is met: two more decimals tell.
    assert "<h2>Memory: mean of 30 days 39.996 % &lt; 40 %, not met so far</h2>" in text
    assert "<h2>Disk: not judged by this policy, mean 41.0 %</h2>" in text
    assert '<span class="badge bad weak">✕ Policy not met so far</span>' in text
    assert '<span class="badge bad weak">✕ not met so far</span>' in text
    assert '<span class="badge ok">✓ met</span>' in text
    assert "The organic load alone: 12.5 %, which would not meet the target." in text
    # Coverage 98 % needs no bounds, 90 % does, and a disk that is not judged has none.
    assert text.count("of the judged window is known.") == 1
    assert "lies between 30.0 % and 50.0 %: they could turn the verdict." in text
    assert text.count("known 90.0 %: between 30.0 % and 50.0 %") == 1, "in the card, too"


def test_a_host_without_a_data_disk_is_told_of() -> None:
    """In the headline, the badge and the heading, in both languages."""
    account = samples.lasting(30)
    disk = replace(samples.empty().of.disk, absent="no_data_disk")
    account = replace(account, of=replace(account.of, disk=disk))
    text = plain(account)
    assert "✓ Policy met</span>" in text
    assert "Disk: not judged, this host has no data disk (DATA_DISK_ONLY)</span>" in text
    assert "<h2>Disk: not judged, this host has no data disk (DATA_DISK_ONLY)</h2>" in text
    assert text.count('class="area"') == 2 * 5, "no empty picture of the disk"
    assert "磁盘：不考核，本机没有数据盘（DATA_DISK_ONLY）" in page(account, "zh")
    assert "judged slots</dt><dd>60 s; neighbouring rows are averaged" in text


def test_bounds_tell_what_the_missing_minutes_could_do() -> None:
    """All in all met, missed or open: by the lower and the upper bound against the target."""
    account = samples.month()

    def said(low: float, high: float) -> str:
        figure = Figure(ratio=0.4, low=low, high=high, coverage=0.9)
        one = replace(account.of.cpu, figure=figure, met=True)
        return plain(replace(account, of=replace(account.of, cpu=one)))

    assert "met in each case" in said(0.4, 0.5)
    assert "missed in each case" in said(0.3, 0.39)
    assert "missed in each case" not in said(0.3, 0.4)


def test_nothing_known_is_never_a_zero() -> None:
    """An empty history: verdicts unknown, hatching, and no area, bar or cell of 0 %."""
    text = plain(samples.empty())
    assert text.count('<span class="badge open">? unknown</span>') == 3
    assert "CPU: mean of 30 days unknown, target 40 %" in text
    assert '<rect class="gap" x="0%" width="100%" height="200"/>' in text
    assert '<path class="organic" d=""/>' in text
    # 0.0 % is only said of coverage: twice for each resource, and twice for each of its days.
    assert len(re.findall("(?<![0-9])0.0 %", text)) == 3 * (2 + 1 + 2 * 31)
    assert text.count("known 0.0 %") == 3
    assert text.count("<dd>0.0 %</dd>") == 6
    assert text.count("<td>0.0 %</td>") == 3 * 2 * 31


def test_the_languages_fill_in_the_same() -> None:
    """Each text has the same braces in English and in Chinese, each mapping the same keys."""

    def braces(value: object) -> set[str | None]:
        return {field for _, field, _, _ in string.Formatter().parse(str(value)) if field}

    own = {"units", "policies", "resources", "kinds", "day", "month"}
    for field in fields(Words):
        english, chinese = (getattr(LANGUAGES[name], field.name) for name in ("en", "zh"))
        assert type(english) is type(chinese) or field.name in own
        if isinstance(english, str) and field.name not in own:
            assert braces(english) == braces(chinese), field.name
            assert english, field.name
            assert chinese, field.name
        elif isinstance(english, tuple):
            assert len(english) == len(chinese)
        elif not isinstance(english, str) and field.name not in {"units", "policies"}:
            assert set(english) == set(chinese), field.name
    for words in LANGUAGES.values():
        assert set(words.kinds) == set(EventKind)
        assert len(words.weekdays) == 7
        assert len(words.months) == 12


def test_the_chinese_page_speaks_chinese() -> None:
    """Beyond names, units, keys and what is marked as English no word of it is left."""
    names = {"CPU", "UTC", "GB", "GiB", "CloudResourceOptimizer", "optimizer", "report", "json"}
    names |= {"regulated", "cloud", "hold", "db", "prod"}
    names |= {"ops", "weekly"}  # people
    keys = re.compile(r"\b[A-Z]+(_[A-Z]+)+\b")
    for name in ("month", "empty", "holed", "crowded"):
        text = keys.sub("", " ".join(seen(made(name, "zh")).words))
        assert set(re.findall(r"[A-Za-z]{2,}", text)) <= names
    assert '<html lang="zh-CN">' in made("empty", "zh")


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`. Source: WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_all_can_be_read_in_both_schemes(colours: dict[str, str]) -> None:
    """Text at least 4.5 to 1, what is drawn 3 to 1; organic and own differ in brightness."""
    text = [("ink", "paper"), ("soft", "paper"), ("ink", "ground"), ("soft", "ground")]
    for name in ("ok", "bad", "open"):
        text += [(name, f"{name}-tint"), (name, "paper"), (name, "ground")]
    for front, back in text:
        assert contrast(colours[front], colours[back]) >= 4.5, (front, back)
    for name in ("organic", "own", "total", "pause", "maint", "ok", "bad"):
        assert contrast(colours[name], colours["paper"]) >= 3, name
    assert contrast(colours["organic"], colours["own"]) >= 1.4
    assert set(LIGHT) == set(DARK)
