"""Looks at the host's platform and disks; targets are told from a status document."""

from __future__ import annotations

import errno
import os
import platform as system
import sys
from pathlib import Path
from typing import Any

from optimizer.adapters import mounts, platform
from optimizer.adapters.steady import steady_s
from optimizer.adapters.switch import FileSwitch
from optimizer.control.disks import eligible, refusal
from optimizer.derive import derive, look
from optimizer.examine.subject import Subject
from optimizer.report.doctor import Finding
from optimizer.report.doctor_host import Disks, Platform, disks, targets


def examine_targets(subject: Subject, status: dict[str, Any]) -> list[Finding]:
    """Why a target is not reached; `status` is the daemon's or one measured without it."""
    configured = subject.settings.platform
    detected = platform.platform_name("auto")
    return targets(
        status,
        Platform(configured=configured, detected=detected, evidence=_os_release()),
    )


def _os_release() -> str:
    try:
        release = system.freedesktop_os_release()
    except OSError:
        return f"{system.system()}, no os-release file"
    shown = release.get("PRETTY_NAME") or release.get("NAME", "")
    return f"os-release: ID={release.get('ID', '')} {shown!r}"


def examine_disks(subject: Subject) -> list[Finding]:
    """Where space is held, and which filesystems were refused and why."""
    settings = subject.settings
    derived = derive(settings, look(settings))
    scope, target = derived.scope, derived.settled.policy.target.disk
    allowed = settings.disk_allow or frozenset()
    table = mounts.mounts()
    used = {place.mount for place in scope.places}
    refused: list[tuple[str, str]] = []
    if settings.disk_stress_path is None:
        usable = {mount.mount for mount in eligible(table, allowed)}
        for mount in table:
            why = refusal(mount, allowed)
            if why is not None and mount.device.startswith("/dev/"):
                refused.append((mount.mount, why))
            elif mount.mount in usable - used:
                refused.append((mount.mount, "it belongs to the system (DATA_DISK_ONLY=true)"))
    unwritable: list[tuple[str, str]] = []
    named: list[str] = []
    for path in held_places(subject):
        code = _unnamed(Path(path))
        if code in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
            named.append(path)
        elif code is not None:
            unwritable.append((path, os.strerror(code).lower()))
    return disks(
        Disks(
            target=target,
            places=tuple(place.path for place in scope.places),
            reason=scope.reason,
            note=scope.note,
            refused=tuple(dict.fromkeys(refused)),
            unwritable=tuple(unwritable),
            named=tuple(named),
        )
    )


def held_places(subject: Subject) -> tuple[str, ...]:
    """Where disk space is held, less what an operator wants to unmount: that is left alone."""
    derived = derive(subject.settings, look(subject.settings))
    if derived.settled.policy.target.disk <= 0:
        return ()
    released = FileSwitch(subject.directories.state, steady=steady_s).released(subject.now_utc_s)
    return tuple(place.path for place in derived.scope.places if place.mount not in released)


def _unnamed(path: Path) -> int | None:
    """Why no unnamed file can be opened there: an errno; None where it can, or off Linux."""
    if sys.platform != "linux":
        return None
    try:
        os.close(os.open(path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | os.O_EXCL, 0o600))
    except OSError as exc:
        return exc.errno
    return None
