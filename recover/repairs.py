"""The steps, each of which may be done again at any time, and what came of them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from typing import Iterable

from recover.ending import Act, Tell, end_daemons, grip_all, in_words, kill
from recover.facts import SERVICE_STOPPED, UNIT, WINDOWS_SERVICE, is_nested, read_group
from recover.folder import Folder, RefusedError, open_folder
from recover.homes import INHIBIT, read_inhibit
from recover.kernel import own_user
from recover.locks import take_lock
from recover.model import Diagnosis, Facts, Group, Home, Leftover

SERVICE_S = 20.0
"""How long the service manager may take; a daemon that is well ends within a second."""
_LEAVE_S = 3.0
"""How long killed processes may take to leave their group."""
_LOOK_S = 0.02


def repair(diagnosis: Diagnosis, facts: Facts, tell: Tell) -> None:
    """Do what the diagnosis says, in order, and tell each thing."""
    for home in diagnosis.inhibit:
        tell(set_inhibit(home))
    # Proven while all of them still are what they were found to be.
    grips = grip_all(diagnosis, facts, tell)
    try:
        if diagnosis.service is not None:
            tell(_stop_service())
        daemons = [grip for grip in grips if grip.target.proof.role == "controller"]
        others = [grip for grip in grips if grip.target.proof.role != "controller"]
        end_daemons(daemons, tell)
        pids = frozenset(grip.target.process.pid for grip in grips)
        for group in diagnosis.groups:
            _kill_group(group, pids, tell)
        kill(others, tell)
        for group in diagnosis.groups:
            tell(_remove_group(group))
    finally:
        for grip in grips:
            if grip.descriptor is not None:
                os.close(grip.descriptor)
    for home in diagnosis.stale:
        for act in clean(home):
            tell(act)


def set_inhibit(home: Home) -> Act:
    """Write the order not to load, without an end; on a full disk an empty file."""
    path = os.path.join(home.path, INHIBIT)
    order = {
        "reason": "recover_system.py took all load away",
        "by": f"recover_system.py, user {own_user()}",
        "until_utc_s": None,
        "since_utc_s": round(time.time(), 3),
    }
    try:
        with open_folder(home.path) as folder:
            if read_inhibit(folder).standing:
                return Act("inhibit", path, "already", "it is in force")
            try:
                folder.write(INHIBIT, json.dumps(order).encode() + b"\n")
            except OSError as exc:
                if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                folder.remove_name(INHIBIT)
                folder.touch(INHIBIT)
                return Act("inhibit", path, "done", "empty, for the disk is full: that suffices")
    except RefusedError as exc:
        return Act("inhibit", path, "refused", str(exc))
    except OSError as exc:
        return Act("inhibit", path, "failed", f"{in_words(exc)}: a daemon could start again there")
    return Act("inhibit", path, "done", "so that nothing starts again")


def lift_inhibit(home: Home) -> Act:
    """Remove the order and all releases, and tell the daemon, as `optimizer resume` does."""
    path = os.path.join(home.path, INHIBIT)
    try:
        with open_folder(home.path) as folder:
            folder.remove_name("released")
            was = folder.remove_name(INHIBIT)
            folder.write("resumed", b"")
    except RefusedError as exc:
        return Act("resume", path, "refused", str(exc))
    except OSError as exc:
        return Act("resume", path, "failed", in_words(exc))
    return Act("resume", path, "done" if was else "already", "load is allowed again")


def _stop_service() -> Act:
    command, name = ["systemctl", "--no-ask-password", "stop", UNIT], UNIT
    if sys.platform == "win32":
        command, name = ["sc.exe", "stop", WINDOWS_SERVICE], WINDOWS_SERVICE
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SERVICE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Act("service", name, "failed", f"not stopped within {SERVICE_S:.0f} s; going on")
    except OSError as exc:
        return Act("service", name, "failed", in_words(exc))
    if done.returncode != 0:
        said = " ".join(done.stdout.decode("utf-8", "replace").split())[:200]
        return Act("service", name, "failed", said or f"exit code {done.returncode}")
    if sys.platform == "win32" and not _stopped_on_windows():
        return Act("service", name, "failed", f"not stopped within {SERVICE_S:.0f} s; going on")
    return Act("service", name, "done", "stopped by the service manager")


def _stopped_on_windows() -> bool:
    """Whether the service ends in time: `sc stop` does not wait for that."""
    if sys.platform == "win32":
        from recover.windows import service_state

        until_s = time.monotonic() + SERVICE_S
        while time.monotonic() < until_s:
            found = service_state(WINDOWS_SERVICE)
            if found is None or found[0] == SERVICE_STOPPED:
                return True
            time.sleep(_LOOK_S)
    return False


def _kill_group(group: Group, ours: frozenset[int], tell: Tell) -> None:
    """Kill a group at once where the kernel can (Linux 5.14, version 2) and all in it are ours."""
    now = read_group(group.path, group.pid)
    if not now.can_kill or not now.members:
        return
    if now.nested:
        reason = "a group below it would be killed too; ours are ended one by one"
        tell(Act("group", group.path, "refused", reason))
        return
    stranger = next((pid for pid in now.members if pid not in ours), None)
    if stranger is not None:
        reason = f"its member {stranger} is not proven ours; ours are ended one by one"
        tell(Act("group", group.path, "refused", reason))
        return
    try:
        with open(os.path.join(group.path, "cgroup.kill"), "w", encoding="ascii") as file:
            file.write("1")
    except OSError as exc:
        tell(Act("group", group.path, "failed", f"{in_words(exc)}; ending one by one"))
    else:
        tell(Act("group", group.path, "done", f"killed with its {len(now.members)} processes"))


def _remove_group(group: Group) -> Act:
    """Remove an empty group; its processes take a moment to leave it. Never what is below it."""
    end_s = time.monotonic() + _LEAVE_S
    while True:
        if is_nested(group.path):
            return Act("group", group.path, "refused", "there is a group below it: not ours")
        try:
            os.rmdir(group.path)
        except FileNotFoundError:
            return Act("group", group.path, "already", "its daemon has removed it")
        except OSError as exc:
            if exc.errno == errno.EBUSY and time.monotonic() < end_s:
                time.sleep(_LOOK_S)
                continue
            return Act("group", group.path, "failed", in_words(exc))
        return Act("group", group.path, "done", "empty, removed")


def clean(home: Home) -> list[Act]:
    """Remove what a killed daemon left, holding its lock so that none starts meanwhile."""
    lock: int | None = None
    try:
        with open_folder(home.path) as folder:
            if home.lock is not None:
                lock = take_lock(folder)
                if lock is None:
                    why = "a daemon holds the lock, so its files are in use"
                    return [Act("remove", home.path, "refused", why)]
            return _remove_all(folder, home.leftovers)
    except FileNotFoundError:
        return []
    except RefusedError as exc:
        return [Act("remove", home.path, "refused", str(exc))]
    except OSError as exc:
        return [Act("remove", home.path, "failed", in_words(exc))]
    finally:
        if lock is not None and lock >= 0:
            os.close(lock)


def _remove_all(folder: Folder, leftovers: Iterable[Leftover]) -> list[Act]:
    """Remove them in their order; what proves them ours stays when one of them stays."""
    acts: list[Act] = []
    for one in leftovers:
        failed = any(act.result == "failed" for act in acts)
        if not one.fault and not (failed and (one.sign or one.is_directory)):
            act = _remove(folder, one)
            acts += [] if act is None else [act]
    return acts


def _remove(folder: Folder, one: Leftover) -> Act | None:
    path = os.path.normpath(os.path.join(folder.path, one.name))
    try:
        if one.name == ".":
            with open_folder(os.path.dirname(folder.path)) as parent:
                done = parent.remove_directory(os.path.basename(folder.path))
        else:
            done = _remove_below(folder, one.name.split("/"), one)
    except RefusedError as exc:
        return Act("remove", path, "refused", f"not ours: {exc}")
    except FileNotFoundError:
        return None
    except OSError as exc:
        if one.is_directory and exc.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            return Act("remove", path, "refused", "not ours alone: something else is in it")
        return Act("remove", path, "failed", in_words(exc))
    return Act("remove", path, "done", "of no use without its daemon") if done else None


def _remove_below(folder: Folder, parts: list[str], one: Leftover) -> bool:
    """Go down one directory at a time, so that none of them can be a link."""
    if len(parts) > 1:
        with folder.below(parts[0]) as inner:
            return _remove_below(inner, parts[1:], one)
    return folder.remove_directory(parts[0]) if one.is_directory else folder.remove(parts[0])


def drop_caches() -> Act:
    """Let the kernel forget clean cached file pages. Source: vm.rst of the kernel, drop_caches."""
    path = "/proc/sys/vm/drop_caches"
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write("1")
    except OSError as exc:
        return Act("caches", path, "failed", f"{in_words(exc)}; only root may, and only on Linux")
    return Act("caches", path, "done", "cached file pages dropped: others read them anew")
