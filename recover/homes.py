"""Reads our directories: orders, locks, rosters, and what a killed daemon left in them."""

from __future__ import annotations

import os
import re
from typing import Callable

from recover.folder import Folder, RefusedError, open_folder
from recover.kernel import own_user
from recover.locks import LOCK, probe_lock
from recover.model import ROLES, Entry, Home, Inhibit, Leftover, Lock, Places, Roster
from recover.remains import ROSTER, is_lock, is_roster, object_of, read_remains

INHIBIT = "inhibit"
FILLER_DIRECTORY = ".cloud-resource-optimizer"
"""Where a stresser's file has its name for an instant, where files must have one."""
_FILLER = re.compile(r"held-[0-9a-f]{16}")
_STATE_NAMES = ("history.sqlite3", INHIBIT, "released", "resumed")
"""Any of them is a sign that a state directory is ours; only the first is no common word."""
_OWN_MODE = 0o700


def read_state(places: Places) -> Home:
    """A state directory and the order in it."""

    def look(folder: Folder, home: Home) -> Home:
        names = set(folder.names())
        known = next((name for name in _STATE_NAMES if name in names), "")
        ours = _ours(places, f"it has {known}" if known else "")
        weak = not places.named and known != _STATE_NAMES[0]
        return home._replace(ours=ours, weak=weak, inhibit=read_inhibit(folder))

    return _read(places.state, places, look)


def read_inhibit(folder: Folder) -> Inhibit:
    """The order not to load. What cannot be understood is an order without an end."""
    if folder.look(INHIBIT) is None:
        return Inhibit(present=False, standing=False)
    try:
        fields = object_of(folder.read(INHIBIT))
    except (OSError, RefusedError):
        return Inhibit(present=True, standing=True)
    until = None if fields is None else fields.get("until_utc_s")
    return Inhibit(present=True, standing=not isinstance(until, (int, float)))


def read_runtime(places: Places) -> Home:
    """A runtime directory: who runs there, and what is stale if nobody does."""

    def look(folder: Folder, home: Home) -> Home:
        lock, roster = _lock(folder), _roster(folder)
        said = "its lock is like ours" if lock is not None and lock.holder is not None else ""
        said = said or ("its roster is like ours" if roster is not None else "")
        return home._replace(
            ours=_ours(places, said), lock=lock, roster=roster, leftovers=read_remains(folder)
        )

    return _read(places.runtime, places, look)


def read_filler(directory: str) -> Home:
    """Named filler files, which a stresser that was killed in one instant may have left."""
    places = Places("", "", f"a disk at {directory}")

    def look(folder: Folder, home: Home) -> Home:
        if folder.mode != _OWN_MODE:
            return home._replace(fault=f"not ours alone (mode {folder.mode:o})")
        left = [
            _leftover(folder, name)
            if _FILLER.fullmatch(name)
            else Leftover(name, fault="is not named as our files are")
            for name in folder.names()
        ]
        if not any(one.fault for one in left):
            left.append(Leftover(".", is_directory=True))
        return home._replace(ours=f"directory {FILLER_DIRECTORY}", leftovers=tuple(left))

    return _read(os.path.join(directory, FILLER_DIRECTORY), places, look)


def _read(path: str, places: Places, look: Callable[[Folder, Home], Home]) -> Home:
    """A directory as `look` finds it, or why it cannot be looked at."""
    home = Home(path, places)
    if not path:
        return home._replace(missing=True)
    try:
        with open_folder(path) as folder:
            if places.owner is not None and folder.uid != places.owner:
                fault = f"belongs to user {folder.uid}, but {places.source}"
                return home._replace(fault=fault)
            return look(folder, home._replace(uid=folder.uid))
    except (FileNotFoundError, NotADirectoryError):
        return home._replace(missing=True)
    except RefusedError as exc:
        return home._replace(fault=str(exc))
    except OSError as exc:
        root = "; run this as root" if own_user() != 0 else ""
        return home._replace(fault=f"cannot be looked at ({exc.strerror or exc}){root}")


def _ours(places: Places, sign: str) -> str:
    return f"named by {places.source}" if places.named else sign


def _leftover(folder: Folder, name: str) -> Leftover:
    return Leftover(name, fault=folder.fault(name))


def _lock(folder: Folder) -> Lock | None:
    """The lock file; None when there is none that could be ours."""
    try:
        if folder.fault(LOCK):
            return None
        fields = object_of(folder.read(LOCK)) or {}
        held, status = probe_lock(folder)
        if folder.fault_of(status):
            return None  # exchanged since
    except (OSError, RefusedError):
        return None
    boot_id = fields.get("boot_id")
    ours = is_lock(fields)
    return Lock(
        os.path.join(folder.path, LOCK),
        status.st_uid,
        (status.st_dev, status.st_ino),
        held,
        boot_id if isinstance(boot_id, str) and ours else None,
        _entry({**fields, "role": "controller"}) if ours else None,
    )


def _roster(folder: Folder) -> Roster | None:
    """The roster; None when there is none that could be ours."""
    try:
        if folder.look(ROSTER) is None:
            return None
        content, status = folder.read_ours(ROSTER)
        fields = object_of(content)
    except (OSError, RefusedError):
        return None
    if fields is None or not is_roster(fields):
        return None
    controller = _entry(fields.get("controller"), "controller")
    listed = fields.get("processes")
    entries = [controller, *(_entry(one) for one in (listed if isinstance(listed, list) else []))]
    boot_id = fields.get("boot_id")
    return Roster(
        os.path.join(folder.path, ROSTER),
        status.st_uid,
        boot_id if isinstance(boot_id, str) else None,
        status.st_ctime,
        None if controller is None else controller.pid,
        tuple(one for one in entries if one is not None),
    )


def _entry(fields: object, role: str = "") -> Entry | None:
    if not isinstance(fields, dict):
        return None
    pid, start, pidfs = (_whole(fields.get(key)) for key in ("pid", "start", "pidfs"))
    if pid is None or pid <= 1:
        return None
    role, kind = role or fields.get("role", ""), fields.get("kind")
    return Entry(
        pid,
        start,
        pidfs,
        role if role in ROLES else "stresser",
        kind if isinstance(kind, str) else None,
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
