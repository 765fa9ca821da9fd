"""The roster: who belongs to this daemon now, for a recovery tool that finds it dead or deaf.

A hint to be checked: a reader believes an entry only when boot, start and
user are those of the process that has the pid.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from optimizer.adapters.identity import Identity, boot_id, identify
from optimizer.atomic import replace_file
from optimizer.ports import Log

ROSTER_NAME = "roster.json"
_FILE_MODE = 0o600


class Listed(NamedTuple):
    """One process of ours: `role` is stresser, worker or page; `kind` what it stresses."""

    who: Identity
    role: str
    kind: str | None


class Roster:
    """A file that is replaced whenever the set of processes has changed; never raises."""

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        self._log = log
        self._boot_id = boot_id()
        self._controller = identify(os.getpid())
        self._listed: dict[str, tuple[Listed, ...]] = {}
        self._failed = False
        self._write()

    def show(self, part: str, processes: Iterable[Listed]) -> None:
        """These are now the processes of one part of the daemon."""
        listed = tuple(processes)
        if self._listed.get(part) != listed:
            self._listed[part] = listed
            self._write()

    def close(self) -> None:
        """Take the file away, unless somebody is left whom it must name."""
        if any(self._listed.values()):
            return
        try:
            self._path.unlink(missing_ok=True)
        except OSError as exc:
            self._log.warning("roster.left_behind", path=str(self._path), cause=str(exc))

    def _write(self) -> None:
        content = {
            "boot_id": self._boot_id,
            "controller": None if self._controller is None else _entry(self._controller),
            "processes": [
                {**_entry(one.who), "role": one.role, "kind": one.kind}
                for part in self._listed.values()
                for one in part
            ],
        }
        try:
            replace_file(
                self._path, json.dumps(content).encode() + b"\n", durable=False, mode=_FILE_MODE
            )
        except OSError as exc:
            if not self._failed:
                cost = "a recovery tool knows our processes only by their marks"
                self._log.warning("roster.failed", path=str(self._path), cause=str(exc), cost=cost)
            self._failed = True
        else:
            self._failed = False


def _entry(who: Identity) -> dict[str, int | None]:
    return {"pid": who.pid, "start": who.start, "pidfs": who.pidfs}
