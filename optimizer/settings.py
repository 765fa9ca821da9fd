"""The configuration in force: command line over environment over file over defaults.

The keys with their units and ranges are in optimizer/settings_keys.py and, for
people, in config/optimizer.env.example.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optimizer.errors import ConfigError
from optimizer.settings_file import (
    Entry,
    Stamp,
    Written,
    expand,
    is_known,
    key_part,
    read,
    stamp_of,
    unknown,
)
from optimizer.settings_keys import KEYS, LEGACY_KEYS, Rule, Settings, as_text, contradictions

__all__ = ["Loaded", "Settings", "SettingsWatch", "find_file", "load", "parse_overrides"]

FILE_NAMES = ("optimizer.env", ".env")
"""Names of the configuration file in a directory, the preferred one first."""

_MOST_VALUE_CHARS = 4096
_MOST_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration without faults, and where it comes from.

    `file` is the file that was read, None if there is none. `origins` says
    for each key "default", "file", "environment" or "command line".
    `warnings` are for the log. `stamp` is that of the file as it was read.
    """

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]
    warnings: tuple[str, ...]
    stamp: Stamp | None = None


def find_file(
    *, explicit: Path | None, environ: Mapping[str, str], default_config_dir: Path
) -> Path | None:
    """The configuration file to read, None where there is none.

    In this order: the explicit one, whether it exists or not; then
    optimizer.env and .env in $CONFIG_DIR, then in `default_config_dir`. A file
    that is there but cannot be read is found: to pass it over in silence would
    run the daemon with values that nobody chose.
    """
    if explicit is not None:
        return explicit
    directories = [default_config_dir]
    named = environ.get("CONFIG_DIR", "").strip()
    if named:
        directories.insert(0, Path(os.path.expanduser(named)))
    candidates = (directory / name for directory in directories for name in FILE_NAMES)
    return next((path for path in candidates if _is_there(path)), None)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def parse_overrides(pairs: Sequence[str]) -> dict[str, str]:
    """The KEY=VALUE pairs of --set as a mapping; the last of equal keys wins.

    Raises ConfigError for those without a "="; keys and values are checked by
    load(). An empty value puts the key back to its default.
    """
    faults = [
        f"{key_part(pair)} (command line): is not KEY=VALUE; write for example --set TARGET_CPU=40"
        for pair in pairs
        if "=" not in pair
    ]
    if faults:
        raise ConfigError(faults)
    split = (pair.split("=", 1) for pair in pairs)
    return {key.strip(): value for key, value in split}


def load(*, file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Loaded:
    """The configuration in force, from `overrides`, `environ`, `file` and the defaults.

    `file` None means that there is no file; a file that is named but is not
    there is a fault. Of the environment only the known keys are read. An empty
    value in the file or in `overrides` means the default; an empty one in the
    environment means nothing. Raises ConfigError with all faults; nothing on
    the disk is changed.
    """
    written = read(file) if file is not None else Written()
    faults = written.faults
    faults += [unknown(key, "command line") for key in overrides if not is_known(key)]
    entries = _chosen(written.entries, environ, overrides)
    unexpanded = expand(entries, environ)
    faults += unexpanded.values()
    values, rejected = _parsed(entries)
    faults += rejected.values()
    settings = Settings(**values)  # type: ignore[arg-type]  # each was made by its key's own rule
    faults += contradictions(
        settings, {*unexpanded, *rejected}, lambda name: _said(name, entries.get(name))
    )
    if faults:
        raise ConfigError(faults)
    return Loaded(
        settings=settings,
        file=file,
        origins={
            name: entries[name].origin if name.lower() in values else "default" for name in KEYS
        },
        warnings=(*written.warnings, *_warnings(settings, entries)),
        stamp=written.stamp,
    )


def _chosen(
    in_file: Mapping[str, Entry], environ: Mapping[str, str], overrides: Mapping[str, str]
) -> dict[str, Entry]:
    entries = dict(in_file)
    for origin, layer in (("environment", environ), ("command line", overrides)):
        for name in (*KEYS, *LEGACY_KEYS):
            text = layer.get(name)
            if text is not None and (text.strip() or origin == "command line"):
                entries[name] = Entry(text=text, value=text, origin=origin, where=origin)
    return entries


def _parsed(entries: Mapping[str, Entry]) -> tuple[dict[str, object], dict[str, str]]:
    """Values by field name, and faults by key; keys that are empty are in neither."""
    values: dict[str, object] = {}
    faults: dict[str, str] = {}
    override = False
    # CEILING_OVERRIDE first, for it changes what the others may be.
    for name in sorted(KEYS, key=lambda name: name != "CEILING_OVERRIDE"):
        entry, rule = entries.get(name), KEYS[name].rule
        if entry is None or not entry.value.strip():
            continue
        if override and rule.overridden:
            rule = rule.overridden
        try:
            values[name.lower()] = _value(entry.value, rule)
        except ValueError as exc:
            remedy = f"write for example {name}={KEYS[name].example}"
            faults[name] = f"{_said(name, entry)}: must be {exc}; {remedy}"
        override = values.get("ceiling_override") is True
    return values, faults


def _value(text: str, rule: Rule[object]) -> object:
    """What the rule makes of the text; ValueError says what it must be."""
    if not rule.secret:
        text = text.strip()
    if not _is_plain(text):
        raise ValueError(f"one line of UTF-8 text of at most {_MOST_VALUE_CHARS} characters")
    try:
        return rule.parse(text)
    except ValueError as exc:
        why = f": {exc}" if rule.explains else ""
        raise ValueError(f"{rule.expected}{why}") from exc


def _is_plain(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return len(text) <= _MOST_VALUE_CHARS and not any(c < " " or c == "\x7f" for c in text)


def _said(name: str, entry: Entry | None) -> str:
    """Key, value and origin for a message; a secret is not shown."""
    if entry is None or not entry.value.strip():
        return f"{name}={as_text(KEYS[name].default)} (default)"
    text = "(hidden)" if KEYS[name].rule.secret else entry.text.strip()
    if not text.isprintable():
        text = ascii(text)
    if len(text) > _MOST_SHOWN_CHARS:
        text = f"{text[:_MOST_SHOWN_CHARS]}..."
    return f"{name}={text} ({entry.where})"


def _warnings(settings: Settings, entries: Mapping[str, Entry]) -> list[str]:
    warnings: list[str] = []
    tiers = [name for name in LEGACY_KEYS if name != "SCRIPT_DIR" and name in entries]
    if tiers:
        warnings.append(
            f"{', '.join(tiers)}: no longer do anything, for disk space is now held without "
            "writing, in unlinked files; remove them"
        )
    if settings.monitor_period_days < Settings().monitor_period_days:
        warnings.append(
            f"{_said('MONITOR_PERIOD_DAYS', entries['MONITOR_PERIOD_DAYS'])}: a policy of 30 days "
            "is judged on 30 days; a shorter period can meet its own mean and miss that one"
        )
    for name in ("CPU_CEILING", "MEMORY_CEILING", "DISK_CEILING"):
        usual = getattr(Settings(), name.lower())
        if getattr(settings, name.lower()) > usual:
            warnings.append(
                f"{_said(name, entries[name])}: above the usual {as_text(usual)} percent, as "
                "CEILING_OVERRIDE=true allows; the work on this host may suffer"
            )
    password = entries.get("GLANCES_PASSWORD")
    if password is not None and password.value and password.origin == "command line":
        warnings.append(
            "GLANCES_PASSWORD (command line): every user can see it in the list of processes; "
            "write it into the file"
        )
    return warnings


class SettingsWatch:
    """Tells when the configuration has changed while the daemon runs.

    `start` is the configuration in force, `find` gives the file to read now
    (None: there is none). The caller keeps the last good configuration.
    """

    def __init__(
        self,
        start: Loaded,
        *,
        find: Callable[[], Path | None],
        environ: Mapping[str, str],
        overrides: Mapping[str, str],
    ) -> None:
        self._find = find
        self._environ = environ
        self._overrides = overrides
        self._seen: tuple[Path | None, Stamp | None] = (start.file, start.stamp)
        self._last_file = start.file
        self._forced = False

    def force(self) -> None:
        """Make the next poll() read again, changed or not; safe in a signal handler."""
        self._forced = True

    def poll(self) -> Loaded | ConfigError | None:
        """The new configuration, what is wrong with it, or None where nothing has changed.

        Costs a few stat(2) calls; the file is read when its time, size or
        inode has changed. Each fault is returned once, not at every call.
        """
        file = self._find()
        seen = (file, _stamp(file))
        if seen == self._seen and not self._forced:
            return None
        self._forced = False
        self._seen = seen
        if file is None and self._last_file is not None:
            return ConfigError(
                [f"{self._last_file}: is gone; put it back, or restart to run without it"]
            )
        self._last_file = file
        try:
            return load(file=file, environ=self._environ, overrides=self._overrides)
        except ConfigError as exc:
            return exc


def _stamp(file: Path | None) -> Stamp | None:
    try:
        return stamp_of(os.stat(file)) if file is not None else None
    except (OSError, ValueError):
        return None
