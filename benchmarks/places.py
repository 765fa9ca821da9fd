"""Where a tenant runs relative to the filler.

Fillers are started by this process and so inherit its control group, and they have
a session of their own. Autogroups count in the root group only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import arms
from tenants import Spot

SAME = "same"
CGROUP = "cgroup"
SESSION = "session"
PLACES = (SAME, CGROUP, SESSION)
AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")


@contextlib.contextmanager
def placed(name: str) -> Iterator[Spot | None]:
    """The spot of the tenant; None, and a word why, where it cannot be had.

    `same` moves this process into a group until the end, and so filler and tenant
    with it: only there do their sessions make no difference.
    """
    if name == SESSION:
        yield Spot(session=True)
        return
    with arms.group(f"bench-tenant-{os.getpid()}") as directory:
        if directory is None:
            yield None
        elif name == CGROUP:
            yield Spot(group=directory)
        else:
            home = own_group(directory.parent)
            arms.enter(directory)()
            try:
                yield Spot()
            finally:
                arms.enter(home)()


def own_group(top: Path) -> Path:
    """The CPU control group of this process, below that top; the top where none is named."""
    version_1 = not (top / "cgroup.controllers").exists()
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if ("cpu" in controllers.split(",")) if version_1 else controllers == "":
            found = top / path.lstrip("/")
            return found if found.is_dir() else top
    return top


def faults(names: Sequence[str]) -> dict[str, str]:
    """Why a placement cannot be measured here, for each that cannot."""
    found = {}
    for name in names:
        if name == SESSION:
            on = AUTOGROUP.exists() and AUTOGROUP.read_text(encoding="ascii").strip() == "1"
            if not on:
                found[name] = "autogroup is off, so a session makes no difference"
        else:
            with placed(name) as spot:
                if spot is None:
                    found[name] = "no control group can be made here"
    return found
