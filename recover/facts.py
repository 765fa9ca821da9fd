"""Reads the world: everything that the diagnosis needs, and what could not be read."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from typing import Iterable, Mapping

from recover.figures import Mount, local_disks, mounts
from recover.homes import read_filler, read_runtime, read_state
from recover.kernel import own_user
from recover.model import GROUP_NAME, Facts, Group, Home, Places, Process, Service
from recover.places import Account, Asked, find
from recover.processes import boot_id, looked_at_closely, read_processes
from recover.prove import by_mark, mark_fault

UNIT = "optimizer.service"
WINDOWS_SERVICE = "CloudResourceOptimizer"
SERVICE_STOPPED = 1
"""Source: winsvc.h."""
_BOOTED_BY_SYSTEMD = "/run/systemd/system"
"""Source: sd_booted(3)."""
_FIRST_PIDS = "pid:[4026531836]"
"""The first pid namespace. Source: linux/proc_ns.h, PROC_PID_INIT_INO."""
_ASK_S = 5.0
_GROUP = re.compile(re.escape(GROUP_NAME) + r"\.([1-9][0-9]{0,9})")


def read_facts(asked: Asked, known: frozenset[int] = frozenset()) -> Facts:
    """Look at the host from scratch; nothing is changed. `known` as in Facts."""
    euid = own_user()
    boot, processes = boot_id(), read_processes()
    found = find(
        asked,
        environ=os.environ,
        platform=sys.platform,
        accounts=_accounts(),
        checkout=_checkout(),
    )
    certain = [one for one in found.places if one.named]
    if not asked.only:
        certain += _of_marks(processes, boot)
    places = list(dict.fromkeys((*certain, *found.places)))
    states = _once(read_state(one) for one in places)
    runtimes = _once(read_runtime(one) for one in places)
    states, runtimes = _signed(states, runtimes, places)
    closer = _closer(processes, runtimes)
    disks, remote = local_disks()
    here = found.disks if asked.only and not asked.orphans else (*found.disks, *disks)
    fillers = _once(read_filler(path) for path in here)
    if asked.orphans:
        # On a disk that nobody named, what is of the user of the daemon that was named.
        users = {home.uid for home in states if not home.missing}
        fillers = tuple(home for home in fillers if home.uid in users)
    gaps = [*found.gaps, *_hidden(processes, euid)]
    if not asked.only:
        gaps += [f"{path}: a remote filesystem may hang; name it with --disk" for path in remote]
    return Facts(
        platform=sys.platform,
        euid=euid,
        boot_id=boot,
        booted_utc_s=_booted_utc_s(),
        processes={**processes, **closer},
        states=states,
        runtimes=runtimes,
        fillers=fillers,
        groups=tuple(_groups_found(processes)),
        service=_windows_service() if sys.platform == "win32" else _systemd_service(),
        gaps=tuple(gaps),
        only_named=asked.only,
        orphans=asked.orphans,
        sees_all_pids=_sees_all_pids(),
        known=known,
    )


def _accounts() -> tuple[Account, ...]:
    """Who runs this, and who called sudo for it."""
    if sys.platform == "win32":
        return ()
    import pwd

    found = [Account(os.path.expanduser("~"), os.geteuid(), os.environ)]
    caller = os.environ.get("SUDO_UID", "")
    if caller.isdigit() and os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            found.append(Account(pwd.getpwuid(int(caller)).pw_dir, int(caller), {}))
    return tuple(found)


def _checkout() -> str:
    """The folder above this one when that is a checkout, whose config/ the daemon reads."""
    above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return above if os.path.exists(os.path.join(above, "start.sh")) else ""


def _of_marks(processes: Mapping[int, Process], boot: str | None) -> list[Places]:
    """The directories that living daemons name; a plain user's must be his own."""
    found = []
    for process in processes.values():
        proof = by_mark(process, boot) if process.marks else None
        if proof is None or proof.role != "controller":
            continue
        for mark in process.marks:
            words = (mark.fields.get(key) for key in ("state", "runtime"))
            paths = [word for word in words if isinstance(word, str) and word.startswith("/")]
            if len(paths) == 2 and not mark_fault(mark, process, boot):
                source = f"the mark of daemon {process.pid}"
                owner = mark.uid or None
                found.append(Places(paths[0], paths[1], source, named=True, owner=owner))
    return found


def _once(homes: Iterable[Home]) -> tuple[Home, ...]:
    """Each directory once, the first way to it; those without a path not at all."""
    found: dict[str, Home] = {}
    for home in homes:
        if home.path:
            found.setdefault(home.path, home)
    return tuple(found.values())


def _signed(
    states: tuple[Home, ...], runtimes: tuple[Home, ...], places: list[Places]
) -> tuple[tuple[Home, ...], tuple[Home, ...]]:
    """The directories again: what belongs to one with a sign of ours is ours too."""
    signs = {home.path: home.ours for home in (*states, *runtimes) if home.ours and not home.weak}
    pairs = [(one.state, one.runtime) for one in places if one.state and one.runtime]

    def signed(home: Home) -> Home:
        others = [a if home.path == b else b for a, b in pairs if home.path in {a, b}]
        sign = next((f"{path}: {signs[path]}" for path in others if path in signs), "")
        return home if home.ours or home.missing else home._replace(ours=sign)

    return tuple(map(signed, states)), tuple(map(signed, runtimes))


def _closer(processes: Mapping[int, Process], runtimes: tuple[Home, ...]) -> dict[int, Process]:
    """The processes that locks and rosters name, with all that can be told of them."""
    entries = [home.lock.holder for home in runtimes if home.lock and home.lock.holder]
    entries += [one for home in runtimes if home.roster for one in home.roster.entries]
    if sys.platform == "win32":
        from recover.windows import process_of

        paths = {home.path for home in runtimes}
        read = (process_of(entry.pid, path) for entry in entries for path in paths)
        return {process.pid: process for process in read if process is not None}
    return looked_at_closely(processes, frozenset(entry.pid for entry in entries))


def _hidden(processes: Mapping[int, Process], euid: int) -> list[str]:
    """What of the host cannot be seen, and what that costs."""
    if sys.platform != "linux":
        return (
            []
            if sys.platform == "win32"
            else [
                "this system does not tell when a process started: none can be proven ours; "
                "a daemon that is well obeys the inhibit by itself"
            ]
        )
    if not os.path.exists("/proc/self/stat"):
        return ["no /proc: processes are known only by rosters, and marks cannot be seen"]
    opaque = sum(1 for process in processes.values() if process.opaque and not process.marks)
    lines = []
    if opaque:
        root = "" if euid == 0 else "; run this as root"
        lines.append(f"{opaque} processes of others cannot be looked into for our mark{root}")
    if 1 not in processes and os.getpid() != 1:
        lines.append("/proc hides the processes of others (hidepid); run this as root")
    return lines


def _booted_utc_s() -> float:
    """When this boot began, in seconds since the epoch; never a moment too early."""
    if sys.platform != "linux":
        return 0.0
    # clock_gettime(2): CLOCK_BOOTTIME is 7; Python 3.7 has its name on Linux too.
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + 1.0


def _groups_found(processes: Mapping[int, Process]) -> list[Group]:
    """Control groups of our name where a daemon makes them: at the top, or below its own."""
    if sys.platform != "linux":
        return []
    marked = [str(process.pid) for process in processes.values() if process.marks]
    parents = []
    for mount in mounts():
        if mount.kind == "cgroup2" or (mount.kind == "cgroup" and "cpu" in mount.options):
            parents.append(mount.point)
            for who in ("self", *marked):
                own = _own_group(who, mount)
                parents += [own, os.path.dirname(own)] if own else []
    found: dict[str, Group] = {}
    for parent in dict.fromkeys(parents):
        try:
            names = os.listdir(parent)
        except OSError:
            continue
        for name in names:
            match = _GROUP.fullmatch(name)
            path = os.path.join(parent, name)
            if match:
                found[os.path.realpath(path)] = read_group(path, int(match.group(1)))
    return list(found.values())


def read_group(path: str, pid: int) -> Group:
    """A control group and who is in it."""
    members: tuple[int, ...] | None
    try:
        with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
            members = tuple(int(word) for word in file.read().split())
    except (OSError, ValueError):
        members = None
    can_kill = os.path.exists(os.path.join(path, "cgroup.kill"))
    return Group(path, pid, members, can_kill, is_nested(path))


def is_nested(path: str) -> bool:
    """Whether there are groups below this one; true when that cannot be told."""
    try:
        with os.scandir(path) as entries:
            return any(entry.is_dir(follow_symlinks=False) for entry in entries)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _sees_all_pids() -> bool:
    try:
        return os.readlink("/proc/self/ns/pid") == _FIRST_PIDS
    except OSError:
        return False


def _own_group(who: str, mount: Mount) -> str:
    """The group of a process in one hierarchy, as far as it is in sight there."""
    try:
        with open(f"/proc/{who}/cgroup", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        wanted = "" if mount.kind == "cgroup2" else "cpu"
        if wanted in controllers.split(",") and path != "/":
            return os.path.normpath(mount.point + path)
    return ""


def _systemd_service() -> Service | None:
    """Our unit as systemd shows it; None where there is none."""
    if sys.platform == "win32" or not os.path.isdir(_BOOTED_BY_SYSTEMD):
        return None
    shown = _asked(
        ["systemctl", "show", "--property=LoadState,ActiveState,MainPID,ExecStart", UNIT]
    )
    fields = dict(line.partition("=")[::2] for line in shown.splitlines())
    if fields.get("LoadState") not in {"loaded", "masked"}:
        return None
    pid = fields.get("MainPID", "0")
    return Service(
        UNIT,
        fields.get("ActiveState") in {"active", "activating", "reloading", "deactivating"},
        int(pid) if pid.isdigit() and pid != "0" else None,
        fields.get("ExecStart", ""),
    )


def _windows_service() -> Service | None:
    """Our service as Windows shows it; None where there is none."""
    if sys.platform == "win32":
        from recover.windows import service_state

        found = service_state(WINDOWS_SERVICE)
        if found is not None:
            state, pid = found
            return Service(WINDOWS_SERVICE, state != SERVICE_STOPPED, pid or None, "")
    return None


def _asked(command: list[str]) -> str:
    """What a program prints; empty when it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
