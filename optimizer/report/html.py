"""The report as one HTML page that needs nothing else: no network, no script, no font.

All pictures are SVG drawn here, so the page prints, and its policy
(Content-Security-Policy) allows nothing but its own style sheet, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace

from optimizer.report import rightsizing
from optimizer.report.account import Account
from optimizer.report.html_days import SIGNS
from optimizer.report.html_events import lane, listed
from optimizer.report.html_figures import DAY_S, lasting, safe, stamp
from optimizer.report.html_sections import badge_kind, card, heading, section
from optimizer.report.html_style import STYLE
from optimizer.report.html_words import Words
from optimizer.report.html_words_zh import LANGUAGES
from optimizer.report.percents import slot_lengths

_LATE_S = 3600.0
"""A recording that began so much after the period did is told."""
_HATCH = (
    '<svg class="defs" width="0" height="0" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse">'
    '<path d="M-1 7L7 -1M-1 1L1 -1M5 7L7 5"/></pattern></defs></svg>'
)


def page(account: Account, language: str) -> str:
    """The whole document; `language` is a key of LANGUAGES. To be written as UTF-8."""
    words = LANGUAGES[language]
    title = words.title.format(host=safe(account.host))
    marks = lane(account.events, account.from_utc_s, account.to_utc_s, words)
    # Once in full; the other charts refer to it.
    again = replace(marks, marks='<use href="#lane"/>') if marks.marks else marks
    first = replace(marks, marks=f'<g id="lane">{marks.marks}</g>')
    lanes = (first, again, again)
    sections = [section(account, *one, words) for one in zip(account.of, lanes, strict=True)]
    body = (
        f"{_HATCH}<main>{_head(account, title, words)}"
        f'<div class="cards">{"".join(card(account, of, words) for of in account.of)}</div>'
        f"{''.join(sections)}"
        f"{_rightsizing(account, language, words)}"
        f'<section class="events"><h2>{words.events}</h2>{listed(account.events, words)}</section>'
        f"{_about(account, words)}</main>"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="{words.lang}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy(STYLE)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>{body}</body>\n</html>\n"
    )


def policy(style: str) -> str:
    """The Content-Security-Policy of a page with this style sheet and nothing else.

    Source: W3C CSP Level 3, 6.7.3.3 (hashes); base-uri and form-action do
    not fall back to default-src.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _head(account: Account, title: str, words: Words) -> str:
    said = {True: words.policy_met, False: words.policy_not_met, None: words.policy_unknown}
    if not account.certain:
        said |= {True: words.policy_met_so_far, False: words.policy_not_met_so_far}
    form = "%Y-%m-%d %H:%M"
    period = words.period.format(
        start=stamp(account.from_utc_s, words, form),
        end=stamp(account.to_utc_s, words, form),
        lasting=lasting(account.days * DAY_S, words),
    )
    first = account.first_utc_s
    if first is not None and first - account.from_utc_s >= _LATE_S:
        period += f" · {words.began.format(start=stamp(first, words, form))}"
    return (
        f'<header><h1>{title}</h1><p class="note">{period} · {words.all_utc}</p>'
        f'<p class="verdict"><span class="badge '
        f'{badge_kind(account.met, account.certain)}">{SIGNS[account.met]} '
        f"{said[account.met]}</span> {safe(account.policy)}{_left_out(account, words)}</p></header>"
    )


def _left_out(account: Account, words: Words) -> str:
    """Which resources the verdict is not over, and why."""
    said = (heading(one, words) for one in account.of if one.left_out)
    return "".join(f' <span class="note">{safe(one)}</span>' for one in said)


def _rightsizing(account: Account, language: str, words: Words) -> str:
    said = "".join(f"<p>{safe(one)}</p>" for one in rightsizing.sentences(account, language))
    return f"<section><h2>{words.rightsizing}</h2>{said}</section>"


def _about(account: Account, words: Words) -> str:
    size = words.sizes.get(account.size_class, account.size_class)
    if account.cpus is not None:
        size += f", {words.cpus.format(count=account.cpus)}"
    if account.nominal_memory_gb is not None:
        size += f", {words.gigabytes.format(count=f'{account.nominal_memory_gb:g}')}"
    says = words.policies.get(account.policy)
    as_of = words.as_of.format(date=account.policy_as_of)
    shown = [
        (words.host, safe(account.host)),
        (words.size, safe(size)),
        (words.policy, f"{safe(account.policy)}: {safe(says or account.policy_says)}"),
        (words.source, f'<span lang="en">{safe(account.policy_source)}</span> ({safe(as_of)})'),
        (words.combination, _known(account.combination, words.combinations)),
        (words.gap_policy, _known(account.gap_policy, words.gaps)),
        (words.slots, words.slots_say.format(seconds=slot_lengths(account))),
        (words.strategy, _known(account.strategy, words.strategies)),
        (words.version, safe(account.version)),
    ]
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown)
    return f'<section><h2>{words.about}</h2><dl class="long">{rows}</dl></section>'


def _known(word: str, meanings: Mapping[str, str]) -> str:
    """What a word of the configuration means; the word itself where that is not known."""
    return safe(meanings.get(word, word))
