"""Installs the daemon as a service of systemd, and takes it away again."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optimizer.adapters.placed_files import PlacedFiles, ids_of
from optimizer.adapters.systemctl import Run, Systemctl, program_of
from optimizer.errors import OptimizerError

SERVICE = "optimizer.service"
ENABLED = (SERVICE, "optimizer-glances.service", "optimizer-backup.timer")
USERS = ("optimizer", "optimizer-glances")
UNITS_DIRECTORY = Path("/etc/systemd/system")
CONFIG = Path("/etc/optimizer/optimizer.env")
STATE, LOGS = Path("/var/lib/optimizer"), Path("/var/log/optimizer")
_SYSUSERS_NAME = "optimizer-sysusers.conf"
_LINKS = {name: Path("/usr/local/bin") / name for name in ("optimizer", "optimizer-recover")}
_KEPT_CONFIG = STATE / CONFIG.name
"""Where an uninstall leaves a configuration that was changed; an install takes it back."""
_PENDING = Path("/run/optimizer-restart-pending")
"""There from before a change until the restart that it calls for."""
_TIMER_STAMP = Path("/var/lib/systemd/timers/stamp-optimizer-backup.timer")
LET_IN = Path("/run/systemd/system.control/optimizer-glances.service.d")
"""What the page's unit leaves when others may reach it."""
_SUFFIXES = frozenset({".service", ".slice", ".socket", ".timer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is installed: the folder with `systemd` and `config`, and the environment of the code.

    `literal` is the path that the unit files say for the environment `venv`.
    """

    share: Path
    venv: Path
    literal: Path

    def units(self) -> dict[str, bytes]:
        """The content of each unit, with the path of this environment. Raises OSError."""
        found = sorted((self.share / "systemd").iterdir())
        paths = str(self.literal).encode(), str(self.venv).encode()
        return {one.name: one.read_bytes().replace(*paths) for one in found if _is_unit(one)}

    def example(self) -> bytes:
        """The configuration with all defaults. Raises OSError."""
        return (self.share / "config/optimizer.env.example").read_bytes()

    def users(self) -> Path:
        """What sysusers.d(5) is told."""
        return self.share / "systemd" / _SYSUSERS_NAME


class SystemdService:
    """Each step looks first, so that any of them may be done again at any time."""

    def __init__(
        self,
        origin: Origin,
        files: PlacedFiles,
        *,
        run: Run,
        booted: bool,
        tell: Callable[[str], None],
        program: Callable[[str], Path | None] = program_of,
    ) -> None:
        self._origin = origin
        self._files = files
        self._run = run
        self._systemctl = Systemctl(run)
        self._booted = booted
        self._tell = tell
        self._program = program

    def install(self, *, start: bool) -> None:
        """Users, configuration, units, links; then enabled and, with `start`, running.

        Raises OSError and OptimizerError.
        """
        files = self._files
        self._make_users()
        files.directory(CONFIG.parent, 0o755)
        self._put_config()
        for name, path in _LINKS.items():
            files.link(path, self._origin.venv / "bin" / name)
        units = self._origin.units()
        for name, content in units.items():
            path = UNITS_DIRECTORY / name
            if not _same(files.at(path), content):
                self._call_for_restart()
            files.put(path, content)
        self._enable()
        if not self._booted:
            self._tell(
                "note: systemd does not run here, so nothing was started; "
                "what is enabled starts when it boots"
            )
            return
        if any(self._systemctl.show(unit, "NeedDaemonReload") != "no" for unit in units):
            self._systemctl.tell("daemon-reload")
        if start:
            self._start()

    def stop(self) -> None:
        """Nothing of it runs. Raises OptimizerError."""
        there = self._placed()
        running = [unit for unit in there if self._booted and self._systemctl.is_up(unit)]
        if running:
            self._systemctl.tell("stop", *running)
            self._files.note("stopped: " + " ".join(running))

    def uninstall(self, *, purge: bool) -> None:
        """Nothing of it is enabled, and its files are gone, but the history; when it is stopped.

        A configuration that was changed is left beside the history. With
        `purge` none of them is left. Raises OSError and OptimizerError.
        """
        files = self._files
        there = self._placed()
        enabled = [name for name in ENABLED if name in there]
        if enabled:
            self._systemctl.tell("disable", *enabled)
        for name in there:
            files.remove(UNITS_DIRECTORY / name)
        if self._booted and there:
            self._systemctl.tell("daemon-reload")
            self._run(["systemctl", "reset-failed", *there])
        for name, path in _LINKS.items():
            self._remove_link(name, path)
        self._remove_config(purge=purge)
        files.remove_tree(LOGS)
        for path in (_PENDING, _TIMER_STAMP):
            files.remove(path)
        files.remove_tree(LET_IN)
        if purge:
            files.remove_tree(STATE)
        elif files.at(STATE).is_dir():
            _give_to_root(files.at(STATE), _ids())
            self._tell(f"kept: {STATE} (the history); `--purge` removes it too")
        self._remove_users()

    def _placed(self) -> list[str]:
        """Our units that are installed; the daemon first, for the others follow it."""
        found = [one.name for one in (self._origin.share / "systemd").iterdir() if _is_unit(one)]
        there = [n for n in found if os.path.lexists(self._files.at(UNITS_DIRECTORY / n))]
        return sorted(there, key=lambda name: (name != SERVICE, name))

    def _make_users(self) -> None:
        missing = [user for user in USERS if ids_of(user) is None]
        if self._files.root != Path("/") or not missing:
            return
        made = self._run(["systemd-sysusers", str(self._origin.users())])
        if made.code == 127:
            for user in missing:
                words = ["--system", "--user-group", "--no-create-home", "--home-dir", "/"]
                made = self._run(["useradd", *words, "--shell", "/usr/sbin/nologin", user])
        left = [user for user in USERS if ids_of(user) is None]
        if left:
            raise OptimizerError(
                f"cannot make the system user {left[0]}: {made.said}; make it by hand "
                f"(useradd --system {left[0]}), then run this again"
            )
        self._files.note("changed: users " + " ".join(missing))

    def _remove_users(self) -> None:
        if self._files.root != Path("/"):
            return
        for user in USERS:
            if ids_of(user) is None:
                continue
            done = self._run(["userdel", user])
            if ids_of(user) is None:
                self._files.note(f"removed: user {user}")
            else:
                self._tell(f"note: user {user} stays: {done.said or f'exit code {done.code}'}")

    def _put_config(self) -> None:
        files, group = self._files, USERS[0]
        if not os.path.lexists(files.at(CONFIG)):
            self._call_for_restart()
            kept = _content_of_root(files.at(_KEPT_CONFIG))
            if kept is not None:
                files.put(CONFIG, kept, mode=0o640, group=group)
                self._tell(f"note: the configuration is that of {_KEPT_CONFIG}, kept last time")
            else:
                files.put(CONFIG, self._origin.example(), mode=0o640, group=group)
        files.owned(CONFIG, mode=0o640, group=group)
        if _content_of_root(files.at(_KEPT_CONFIG)) is not None:
            files.remove(_KEPT_CONFIG)

    def _remove_config(self, *, purge: bool) -> None:
        files = self._files
        place = files.at(CONFIG)
        changed = place.is_file() and place.read_bytes() != self._origin.example()
        if changed and not purge:
            files.directory(STATE, 0o750)
            _give_to_root(files.at(STATE), _ids())
            files.put(_KEPT_CONFIG, place.read_bytes(), mode=0o600)
        files.remove(CONFIG)
        files.remove_empty(CONFIG.parent)

    def _remove_link(self, name: str, path: Path) -> None:
        place = self._files.at(path)
        ends = (self._origin.venv, self._origin.literal)
        if place.is_symlink() and place.readlink() in {end / "bin" / name for end in ends}:
            self._files.remove(path)

    def _call_for_restart(self) -> None:
        place = self._files.at(_PENDING)
        if self._booted and place.parent.is_dir():
            place.touch()

    def _enable(self) -> None:
        root = [] if self._files.root == Path("/") else [f"--root={self._files.root}"]
        for unit in ENABLED:
            asked = self._run(["systemctl", *root, "is-enabled", unit])
            if asked.code == 127:
                self._tell("note: there is no systemctl here, so nothing was enabled")
                return
            if asked.said.split("\n")[-1] != "enabled":
                self._systemctl.tell(*root, "enable", unit)
                self._files.note(f"enabled: {unit}")

    def _start(self) -> None:
        runs = self._systemctl.is_("active", SERVICE)
        pending = self._files.at(_PENDING)
        if not runs or pending.exists() or self._runs_another():
            word = "restart" if runs else "start"
            try:
                self._systemctl.tell(word, SERVICE)
            except OptimizerError as exc:
                raise OptimizerError(f"{exc}; see `journalctl -u optimizer -n 50`") from exc
            self._files.note(f"{word}ed: {SERVICE}")
        pending.unlink(missing_ok=True)
        for unit in ENABLED[2:]:
            if not self._systemctl.is_("active", unit):
                self._systemctl.tell("start", unit)
                self._files.note(f"started: {unit}")

    def _runs_another(self) -> bool:
        """Whether the daemon that runs is of another environment, as before an upgrade."""
        program = self._program(self._systemctl.show(SERVICE, "MainPID"))
        return program is None or program.parent.resolve() != (self._origin.venv / "bin").resolve()


def _ids() -> frozenset[int]:
    found = (ids_of(user) for user in USERS)
    return frozenset(one[0] for one in found if one is not None)


def _is_unit(path: Path) -> bool:
    return path.suffix in _SUFFIXES and path.name.startswith("optimizer")


def _same(place: Path, content: bytes) -> bool:
    try:
        return place.read_bytes() == content
    except OSError:
        return False


def _content_of_root(place: Path) -> bytes | None:
    """What is in a file that nobody but root can have put there; None where there is no such one.

    The daemon's user may exchange what has that name at any moment, so what was
    opened is asked, and no link is followed.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(place, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_uid == 0 and found.st_nlink == 1:
                return file.read()
    except OSError:
        pass
    return None


def _give_to_root(directory: Path, owners: frozenset[int]) -> None:
    """Nothing in it belongs to users that are about to go; systemd gives it back at a start."""
    if sys.platform == "win32":
        return
    for _, below, names, descriptor in os.fwalk(directory):
        for name in (".", *below, *names):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if found.st_uid in owners:
                os.chown(name, 0, 0, dir_fd=descriptor, follow_symlinks=False)
