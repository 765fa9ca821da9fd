"""The HTML report in a headless Chromium: what it complains of, asks for, and shows."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.report.account import Account
from optimizer.report.html import page
from optimizer.report.html_style import DARK, LIGHT
from tests.browser import Tab, browser, chromium
from tests.unit import account_samples as samples

PHONE_PX = 360
DESK_PX = 1100
BEYOND = """
[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, .said, .defs')
  && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 120))
"""

pytestmark = pytest.mark.skipif(
    chromium() is None or os.name != "posix", reason="no chromium here: apt install chromium"
)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One browser for all."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def written(folder: Path, account: Account, language: str = "en") -> Path:
    """The page in a file."""
    file = folder / "report.html"
    file.write_text(page(account, language), encoding="utf-8")
    return file


def pixels(png: bytes) -> list[list[tuple[int, int, int]]]:
    """Rows of red, green, blue of a screenshot. Source: PNG specification, filter types 0 to 4."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert depth == 8
    size, at, packed = {2: 3, 6: 4}[kind], 8, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        packed += png[at + 8 : at + 8 + length] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
    raw, stride = zlib.decompress(packed), width * size
    above, rows = bytearray(stride), []
    for y in range(height):
        start = y * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        for x in range(stride):
            left = line[x - size] if x >= size else 0
            corner = above[x - size] if x >= size else 0
            line[x] = (line[x] + _guess(raw[start], left, above[x], corner)) & 255
        rows.append([tuple(line[x : x + 3]) for x in range(0, stride, size)])
        above = line
    return rows


def _guess(kind: int, left: int, up: int, corner: int) -> int:
    if kind < 4:
        return (0, left, up, (left + up) // 2)[kind]
    nearest = left + up - corner
    return min((left, up, corner), key=lambda one: abs(nearest - one))


def colour(text: str) -> tuple[int, int, int]:
    """Of `#rrggbb`."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_time_line_shows_what_it_should_where_it_should(
    tab: Tab, tmp_path: Path, dark: bool
) -> None:
    """Organic below, own above it up to 40 %, nothing above that, hatching where all is unknown.

    The axis ends at 60 %; on the Saturday night of 2026-10-31 the tenant uses 7 %.
    """
    tab.show(written(tmp_path, samples.month()), width=DESK_PX, dark=dark)
    colours = DARK if dark else LIGHT
    assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb({}, {}, {})".format(
        *colour(colours["ground"])
    )
    box = tab.value(
        "(r => ({x: r.x, y: r.y, width: r.width}))"
        "(document.querySelector('#cpu .area').getBoundingClientRect())"
    )

    def column(days_ago: float) -> list[tuple[int, int, int]]:
        x = round(box["x"] + box["width"] * (1 - days_ago / 30))
        clip = {"x": x, "y": box["y"], "width": 1, "height": 200}
        return [row[0] for row in pixels(tab.screenshot(clip=clip))]

    def height(ratio: float) -> int:
        return round(200 * (1 - ratio / 0.6))

    saturday = column(17.5)
    assert saturday[height(0.03)] == colour(colours["organic"])
    assert saturday[height(0.25)] == colour(colours["own"])
    assert saturday[height(0.55)] == colour(colours["paper"])
    gap = column(5.0)
    assert not {colour(colours["organic"]), colour(colours["own"])} & set(gap)
    assert colour(colours["paper"]) in gap
    assert len(set(gap)) > 3, "it is hatched"
    assert tab.complaints() == []


@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
def test_it_asks_for_nothing_and_needs_no_sideways_scrolling(
    tab: Tab, tmp_path: Path, width: int
) -> None:
    """One request (the file itself), no complaint, nothing beyond the right edge, in Chinese too.

    The long reasons and names of the hostile sample wrap.
    """
    for account, language in ((samples.month(), "zh"), (samples.hostile(), "en")):
        file = written(tmp_path, account, language)
        tab.show(file, width=width)
        assert tab.complaints() == []
        assert tab.requests() == [file.as_uri()]
        assert tab.value("innerWidth") == width
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert tab.value(BEYOND) == []


def test_columns_and_marks_tell_when_pointed_at(tab: Tab, tmp_path: Path) -> None:
    """The element under the pointer has a title: a column, a mark of an event, an hour."""
    tab.show(written(tmp_path, samples.month()))

    def under(place: str, x: str, y: str) -> str:
        return str(
            tab.value(
                f"(() => {{const e = document.querySelector('{place}'); e.scrollIntoView();"
                "const r = e.getBoundingClientRect();"
                f"return document.elementFromPoint(r.x + {x}, r.y + {y})"
                ".querySelector('title').textContent})()"
            )
        )

    assert re.fullmatch(
        r"\d+ Nov \d\d:00-\d\d:00\ntotal .* = organic .* \+ own .*\nasked for 41.0 %",
        under("#cpu .area", "0.9 * r.width", "150"),
    )
    assert under("#cpu .pause", "r.width / 2", "3").startswith("paused, 2026-10-29 15:00 UTC to")
    assert under("#cpu .heat", "3", "3").startswith("Mon 00:00 ")


def test_its_own_policy_forbids_scripts_and_pictures(tab: Tab, tmp_path: Path) -> None:
    """What got into the page all the same would not run or be fetched; and we would see that."""
    tab.show(written(tmp_path, samples.empty()))
    assert tab.complaints() == []
    before = len(tab.requests())
    tab.value(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:9/x.png\" "
        'onerror="document.title=1"><p style="color:red">\')'
    )
    tab.value("new Promise(r => setTimeout(r, 300))", wait=True)
    said = " ".join(tab.complaints())
    assert "Content Security Policy" in said
    assert "127.0.0.1:9" in said
    assert tab.value("document.title") != "1"
    assert not [
        event
        for event in tab.events
        if event.get("method") == "Network.responseReceived" and "127.0.0.1:9" in str(event)
    ]
    assert len(tab.requests()) <= before + 1


@pytest.mark.long
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, PHONE_PX, 768, DESK_PX, 1920])
def test_each_sample_fits_each_screen(
    tab: Tab, tmp_path: Path, width: int, dark: bool, language: str
) -> None:
    """All samples, sizes, schemes and languages: nothing beyond the edge and no complaint."""
    cases = [samples.month(), samples.empty(), samples.holed(), samples.crowded()]
    cases += [samples.hostile(), samples.lasting(1 / 24), samples.lasting(7), samples.lasting(366)]
    for account in cases:
        tab.show(written(tmp_path, account, language), width=width, dark=dark)
        assert tab.complaints() == []
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert tab.value(BEYOND) == []


@pytest.mark.long
def test_it_prints(tab: Tab, tmp_path: Path) -> None:
    """A few pages of A4, light also where the screen is dark."""
    tab.show(written(tmp_path, samples.month()), dark=True)
    pdf = tab.printed()
    assert pdf.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12
