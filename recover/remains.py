"""What a killed daemon left in its runtime directory, told from what only has its names."""

from __future__ import annotations

import json
import os
import re
from typing import Mapping

from recover.folder import Folder, RefusedError
from recover.locks import LOCK
from recover.model import Leftover

ROSTER, _STATUS = "roster.json", "status.json"
_BESIDE = re.compile(
    r"status\.txt|\.(?:status\.json|status\.txt|roster\.json)\.[0-9a-f]{16}\.tmp",
)
"""Names of files whose content proves nothing."""
_PAGE = "glances"
_PAGE_CONFIG = f"{_PAGE}/glances.conf"
_PAGE_FILE = re.compile(
    r"glances/(?:glances\.conf|optimizer\.pwd|\.(?:glances\.conf)\.[0-9a-f]{16}\.tmp|"
    r"glances/glances\.log(?:\.[1-3])?)"
)
"""What the web page makes: a password's hash, and the log of Glances in its XDG_CACHE_HOME."""
_PAGE_SIGN = b"[amp_optimizer]"
_FOREIGN = "does not have the content that our daemon writes"
_ALONE = "nothing that is proven ours lies beside it"


def read_remains(folder: Folder) -> tuple[Leftover, ...]:
    """Files and directories of ours in the order of their removal.

    A file is ours by what it says. One that cannot say it, or is empty since
    its daemon was killed before it wrote, is ours beside one that does; those
    go before what proves them, and the lock last: it is held meanwhile.
    """
    found = _found(folder)
    signs = {name for name, (fault, content) in found.items() if not fault and _says(name, content)}
    files = [
        Leftover(name, fault=fault or _doubt(name, content, signs), sign=name in signs)
        for name, (fault, content) in found.items()
    ]
    files.sort(key=lambda one: (one.name == LOCK, one.sign, one.name))
    last = [one for one in files if one.name == LOCK]
    kept = {one.name for one in files if one.fault}
    directories = _directories(folder, set(found) - kept) if signs else []
    return (*(one for one in files if one.name != LOCK), *directories, *last)


def _doubt(name: str, content: bytes, signs: set[str]) -> str:
    """Why a file that could be ours is not taken for ours; empty when it is."""
    if name in signs:
        return ""
    if content and not _is_mute(name):
        return _FOREIGN
    return "" if signs else _ALONE


def object_of(content: bytes) -> Mapping[str, object] | None:
    """The JSON object that a file contains; None when it contains anything else."""
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_lock(fields: Mapping[str, object]) -> bool:
    """Whether that is what optimizer/adapters/instance_lock.py writes."""
    return _is_number(fields, "pid", int) and _is_number(fields, "started_utc_s", int, float)


def is_roster(fields: Mapping[str, object]) -> bool:
    """Whether that is what optimizer/adapters/roster.py writes."""
    return isinstance(fields.get("processes"), list) and "boot_id" in fields


def _is_status(fields: Mapping[str, object]) -> bool:
    """Whether that is what optimizer/report/status.py makes."""
    numbers = all(_is_number(fields, name, int) for name in ("version", "pid"))
    return numbers and isinstance(fields.get("resources"), dict)


def _is_number(fields: Mapping[str, object], name: str, *kinds: type) -> bool:
    value = fields.get(name)
    return isinstance(value, kinds) and not isinstance(value, bool)


_TESTS = {LOCK: is_lock, ROSTER: is_roster, _STATUS: _is_status}


def _says(name: str, content: bytes) -> bool:
    """Whether the content proves that our daemon wrote it."""
    if name == _PAGE_CONFIG:
        return _PAGE_SIGN in content.splitlines()
    fields = object_of(content) if name in _TESTS else None
    return fields is not None and _TESTS[name](fields)


def _is_mute(name: str) -> bool:
    return name not in _TESTS and name != _PAGE_CONFIG


def _found(folder: Folder) -> dict[str, tuple[str, bytes]]:
    """Files that have a name of ours: why each cannot be ours, else its content."""
    found = {}
    for name in folder.names():
        if name in _TESTS or _BESIDE.fullmatch(name):
            found[name] = _looked_at(folder, name, name)
        elif name == _PAGE:
            found.update(_found_below(folder, name))
    return found


def _found_below(folder: Folder, path: str) -> dict[str, tuple[str, bytes]]:
    """The same in a directory of the page."""
    found = {}
    try:
        with folder.below(os.path.basename(path)) as page:
            for name in page.names():
                inner = f"{path}/{name}"
                if _PAGE_FILE.fullmatch(inner):
                    found[inner] = _looked_at(page, name, inner)
                elif inner == f"{_PAGE}/{_PAGE}":
                    found.update(_found_below(page, inner))
    except RefusedError as exc:
        return {path: (str(exc), b"")}
    except OSError:
        return {}
    return found


def _looked_at(folder: Folder, name: str, path: str) -> tuple[str, bytes]:
    fault = folder.fault(name)
    if fault or _is_mute(path):
        return fault, b""
    try:
        return "", folder.read(name)
    except (OSError, RefusedError) as exc:
        return f"cannot be read ({exc})", b""


def _directories(folder: Folder, files: set[str]) -> list[Leftover]:
    """Directories of the page in which nothing but these files is, the inner one first."""
    found: list[Leftover] = []
    try:
        with folder.below(_PAGE) as page:
            names = {f"{_PAGE}/{name}" for name in page.names()}
            with_inner = f"{_PAGE}/{_PAGE}"
            if with_inner in names:
                with page.below(_PAGE) as inner:
                    if {f"{with_inner}/{name}" for name in inner.names()} <= files:
                        found.append(Leftover(with_inner, is_directory=True))
            if names <= files | {one.name for one in found}:
                found.append(Leftover(_PAGE, is_directory=True))
    except (OSError, RefusedError):
        pass
    return found
