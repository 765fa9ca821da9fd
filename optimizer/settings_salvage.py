"""The part of a configuration that is good, for a look at a host whose configuration is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from optimizer.errors import ConfigError
from optimizer.settings import Loaded, load
from optimizer.settings_file import MOST_FILE_BYTES, expand, read
from optimizer.settings_keys import KEYS

_PLAIN = re.compile(r"\s*(?:export\s+)?([A-Z_]+)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvaged:
    """A configuration with each key that is good by itself, and all faults of the whole.

    `unread` is why the file could not be checked at all, None where it was.
    """

    loaded: Loaded
    faults: tuple[str, ...] = ()
    unread: str | None = None


def salvage(
    *, file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str]
) -> Salvaged:
    """What `load` gives where there is no fault; never raises."""
    faults: tuple[str, ...] = ()
    unread = None
    try:
        return Salvaged(loaded=load(file=file, environ=environ, overrides=overrides))
    except ConfigError as exc:
        faults = exc.faults
    except ImportError as exc:  # the library that reads the file
        unread = str(exc)
    kept: dict[str, str] = {}
    layers = (_written(file, environ, unread), environ, overrides)
    for layer in layers:
        for name in KEYS:
            value = layer.get(name, "")
            if value.strip() and _is_good({**kept, name: value}):
                kept[name] = value
    loaded = load(file=None, environ={}, overrides=kept)
    good = Loaded(
        settings=loaded.settings, file=file, origins=loaded.origins, warnings=(), stamp=None
    )
    return Salvaged(loaded=good, faults=faults, unread=unread)


def _is_good(pairs: Mapping[str, str]) -> bool:
    try:
        load(file=None, environ={}, overrides=pairs)
    except ConfigError:
        return False
    return True


def _written(file: Path | None, environ: Mapping[str, str], unread: str | None) -> dict[str, str]:
    """The keys of the file; without the library that reads it, its plainest lines only."""
    if file is None:
        return {}
    if unread is None:
        entries = dict(read(file).entries)
        expand(entries, environ)
        return {name: entry.value for name, entry in entries.items()}
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_FILE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return {}
    matches = (_PLAIN.fullmatch(line) for line in text.splitlines())
    plain = {match[1]: match[2].partition(" #")[0].strip(" \t'\"") for match in matches if match}
    return {name: value for name, value in plain.items() if "$" not in value}
