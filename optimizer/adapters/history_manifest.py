"""What a backup says of itself: a JSON object with sizes, checksums and counts."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

FORMAT = "optimizer-backup"
FORMAT_VERSION = 1
"""A reader refuses what has a higher one."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file in the archive; `path` is where it was."""

    size_bytes: int
    sha256: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a history holds; the times are the earliest and latest of its rows, None without any."""

    schema_version: int
    rows: int
    events: int
    first_utc_s: float | None
    last_utc_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the archive says of itself; `config` None: the host ran on built-in defaults."""

    created_utc_s: float
    host: str
    program_version: str
    contents: Contents
    history: Member
    config: Member | None


def rendered(manifest: Manifest) -> bytes:
    """The manifest as it is written."""
    told = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(manifest)}
    return json.dumps(told, indent=2).encode() + b"\n"


class NewerError(Exception):
    """The format is newer than this program."""


def parsed(told: dict[str, object]) -> Manifest:
    """The manifest from its JSON object.

    Raises NewerError for a later format, and ValueError, TypeError, KeyError
    or AttributeError for what is no manifest.
    """
    if told["format"] != FORMAT:
        raise ValueError(f"format {told['format']!r}")
    if _count(told["format_version"]) > FORMAT_VERSION:
        raise NewerError(told["format_version"])
    contents, config = told["contents"], told["config"]
    if not isinstance(contents, dict):
        raise TypeError("contents is no object")
    return Manifest(
        created_utc_s=_moment(told["created_utc_s"]) or 0.0,
        host=str(told["host"])[:255],
        program_version=str(told["program_version"])[:255],
        contents=Contents(
            schema_version=_count(contents["schema_version"]),
            rows=_count(contents["rows"]),
            events=_count(contents["events"]),
            first_utc_s=_moment(contents["first_utc_s"]),
            last_utc_s=_moment(contents["last_utc_s"]),
        ),
        history=_member(told["history"]),
        config=None if config is None else _member(config),
    )


def _member(told: object) -> Member:
    if not isinstance(told, dict) or not _SHA256.fullmatch(told["sha256"]):
        raise ValueError(f"no member: {str(told)[:60]}")
    return Member(
        size_bytes=_count(told["size_bytes"]), sha256=told["sha256"], path=str(told["path"])
    )


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"no count: {str(value)[:60]}")
    return value


def _moment(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not abs(value) < 1e12:
        raise ValueError(f"no time: {str(value)[:60]}")
    return float(value)
