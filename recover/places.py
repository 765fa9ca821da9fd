"""Where a daemon of ours may keep its files: arguments, environment, configuration, defaults."""

from __future__ import annotations

import os
import re
import stat
from typing import Mapping, NamedTuple

from recover.model import Places

_NAME = "optimizer"
_CONFIG_NAMES = ("optimizer.env", ".env")
_MOST_CONFIG_BYTES = 1 << 16
_LINE = re.compile(r"^\s*(?:export\s+)?(WORKSPACE_DIR|DISK_STRESS_PATH)\s*=\s*(.*?)\s*$")


class Asked(NamedTuple):
    """What the operator has named; `only` means nothing else is to be touched.

    `orphans` as in Facts.
    """

    state: str = ""
    runtime: str = ""
    workspaces: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    only: bool = False
    orphans: bool = False


class Account(NamedTuple):
    """Somebody in whose home a daemon may have its files; `environ` is empty for others."""

    home: str
    uid: int
    environ: Mapping[str, str]


class Found(NamedTuple):
    """Directories of daemons, directories where disk space may be held, and what was not read."""

    places: tuple[Places, ...]
    disks: tuple[str, ...]
    gaps: tuple[str, ...]


def find(
    asked: Asked,
    *,
    environ: Mapping[str, str],
    platform: str,
    accounts: tuple[Account, ...],
    checkout: str,
) -> Found:
    """All places to look at, the most certain first; only configuration files are read."""
    places = _named(asked)
    disks = list(asked.disks)
    gaps: list[str] = []
    configs = [_absolute(path) for path in asked.configs]
    if not asked.only:
        places += _from_environment(environ)
        configs += _configs(environ, platform, accounts, checkout)
    for path in dict.fromkeys(configs):
        more, disk, gap = _from_config(path, environ)
        places += more
        disks += disk
        gaps += gap
    if not asked.only:
        places += _usual(environ, platform, accounts)
    unique: dict[tuple[str, str], Places] = {}
    for place in places:
        unique.setdefault((place.state, place.runtime), place)
    return Found(tuple(unique.values()), tuple(dict.fromkeys(disks)), tuple(gaps))


def _named(asked: Asked) -> list[Places]:
    found = [_workspace(path, "--workspace", None) for path in asked.workspaces]
    if asked.state or asked.runtime:
        state, runtime = (_absolute(path) for path in (asked.state, asked.runtime))
        found.append(Places(state, runtime, "--state and --runtime", named=True))
    return found


def _workspace(path: str, source: str, owner: int | None) -> Places:
    base = _absolute(path)
    return Places(
        os.path.join(base, "state"), os.path.join(base, "run"), source, named=True, owner=owner
    )


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def _from_environment(environ: Mapping[str, str]) -> list[Places]:
    found = []
    if environ.get("WORKSPACE_DIR", "").strip():
        found.append(_workspace(environ["WORKSPACE_DIR"].strip(), "WORKSPACE_DIR", None))
    state, runtime = (
        environ.get(name, "").split(":", 1)[0] for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")
    )
    if state.startswith("/") and runtime.startswith("/"):
        found.append(Places(state, runtime, "STATE_DIRECTORY", named=True))
    return found


def _usual(
    environ: Mapping[str, str], platform: str, accounts: tuple[Account, ...]
) -> list[Places]:
    """The defaults of the daemon for the system and for each account."""
    if platform == "win32":
        base = os.path.join(environ.get("PROGRAMDATA") or "C:\\ProgramData", "Optimizer")
        return [_workspace(base, "default", None)._replace(named=False)]
    if platform == "darwin":
        bases = [
            (os.path.join(one.home, "Library/Application Support", _NAME), one.uid)
            for one in accounts
        ]
        return [_workspace(base, "default", uid)._replace(named=False) for base, uid in bases]
    # Only root can have made these, so anybody may own them: a service's user, for example.
    found = [Places(f"/var/lib/{_NAME}", f"/run/{_NAME}", "default of the system")]
    for one in accounts:
        base = _variable(one, "XDG_STATE_HOME") or os.path.join(one.home, ".local/state")
        state = os.path.join(base, _NAME)
        session = _variable(one, "XDG_RUNTIME_DIR") or f"/run/user/{one.uid}"
        found += [
            Places(state, runtime, f"default of user {one.uid}", owner=one.uid)
            for runtime in (os.path.join(session, _NAME), os.path.join(state, "run"))
        ]
    return found


def _variable(account: Account, name: str) -> str:
    value = account.environ.get(name, "")
    return value if value.startswith("/") else ""


def _configs(
    environ: Mapping[str, str],
    platform: str,
    accounts: tuple[Account, ...],
    checkout: str,
) -> list[str]:
    """Configuration files that there may be."""
    directories = [os.path.join(checkout, "config")] if checkout else []
    if environ.get("CONFIG_DIR", "").strip():
        directories.insert(0, _absolute(environ["CONFIG_DIR"].strip()))
    if platform != "win32":
        directories.append(f"/etc/{_NAME}")
        for one in accounts:
            base = _variable(one, "XDG_CONFIG_HOME") or os.path.join(one.home, ".config")
            directories.append(os.path.join(base, _NAME))
    return [os.path.join(directory, name) for directory in directories for name in _CONFIG_NAMES]


def _from_config(
    path: str, environ: Mapping[str, str]
) -> tuple[list[Places], list[str], list[str]]:
    """Directories of daemons, disks, and what could not be read. Broken lines are passed over."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return [], [], []
        with open(path, "rb") as file:
            text = file.read(_MOST_CONFIG_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return [], [], []
    except (OSError, ValueError) as exc:
        gap = f"cannot read the configuration {path} ({exc}); if it sets WORKSPACE_DIR, name that"
        return [], [], [gap]
    values = values_of(text)
    gaps = []
    for key, value in values.items():
        values[key] = _expanded(value, environ)
        if "$" in values[key]:
            gaps.append(f"{key}={value} in {path} cannot be expanded; name the directory itself")
            values[key] = ""
    owner = None if status.st_uid == 0 else status.st_uid
    workspace, disk = values.get("WORKSPACE_DIR", ""), values.get("DISK_STRESS_PATH", "")
    found = [_workspace(workspace, f"WORKSPACE_DIR in {path}", owner)] if workspace else []
    return found, [_absolute(disk)] if disk else [], gaps


def values_of(text: str) -> dict[str, str]:
    """The two keys that matter here, from the text of a dotenv file; the last line counts."""
    found: dict[str, str] = {}
    for line in text.lstrip("\ufeff").splitlines():
        match = _LINE.match(line)
        if match:
            key, value = match.groups()
            if value[:1] in {"'", '"'}:
                value = value[1:].partition(value[0])[0]
            else:
                value = re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()
            found[key] = value
    return found


def _expanded(value: str, environ: Mapping[str, str]) -> str:
    return re.sub(
        r"\$\{(\w+)\}", lambda match: environ.get(match.group(1)) or match.group(0), value
    )
