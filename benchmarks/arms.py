"""The fillers that are compared: none, ours, and others, plain and in our kernel means."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CPUS = os.cpu_count() or 1
SETTLE_S = 6.0
"""How long a filler runs before anything is measured."""
STOP_S = 5.0
_V1 = Path("/sys/fs/cgroup/cpu")
_V1_JOINED = Path("/sys/fs/cgroup/cpu,cpuacct")
_V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One filler; `command` is None for none at all.

    `undo` is run after it has been stopped, for fillers that detach. `wrapped`
    puts it into an idle group and the idle class, as ours puts its workers.
    """

    name: str
    command: tuple[str, ...] | None
    target: float
    wrapped: bool = False
    undo: tuple[str, ...] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[int | None]:
        """The filler, settled; its pid. It and all that it has started are gone afterwards."""
        if self.command is None:
            time.sleep(1.0)
            yield None
            return
        with contextlib.ExitStack() as stack:
            idle = None
            if self.wrapped:
                idle = stack.enter_context(group(f"bench-filler-{os.getpid()}", idle=True))
                if idle is None:
                    message = f"{self.name}: no idle group can be made any more"
                    raise OSError(message)
            place = stack.enter_context(tempfile.TemporaryDirectory(dir=_memory_directory()))
            said = stack.enter_context(tempfile.TemporaryFile(dir=_memory_directory()))
            names = ("STATE_DIRECTORY", "LOGS_DIRECTORY", "RUNTIME_DIRECTORY")
            # A session of its own: it is stopped as a whole, and is another autogroup than ours.
            process = subprocess.Popen(
                self.command,
                cwd=place,  # stress-ng wants to write where it is
                env={**os.environ, **dict.fromkeys(names, place), "PYTHONPATH": str(PROJECT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                preexec_fn=enter(idle, idle_class=True) if self.wrapped else None,  # noqa: PLW1509  # one thread
            )
            try:
                time.sleep(SETTLE_S)
                code = process.poll()
                if code is not None and (code != 0 or self.undo is None):
                    said.seek(0)
                    text = said.read().decode(errors="replace").strip()[-300:]
                    message = f"{self.name} ended by itself with code {code}: {text}"
                    raise OSError(message)
                yield process.pid
            finally:
                _stop(process)
                if self.undo is not None:
                    self._undone(self.undo)

    def _undone(self, command: Sequence[str]) -> None:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()[-300:]
            print(
                f"{self.name}: {' '.join(command)} failed, so it may still run and spoil what "
                f"follows: {said}",
                file=sys.stderr,
            )


def find(names: Sequence[str], target: float = 40.0) -> tuple[list[Arm], list[str]]:
    """The arms of those names that can run here, and a sentence for each that cannot.

    Raises ValueError for a name that is none.
    """
    known = _all(target)
    found, missing = [], []
    for name in names:
        if name not in known:
            message = f"{name!r} is no filler; known are {', '.join(known)}"
            raise ValueError(message)
        arm = known[name]
        program = arm.command[0] if arm.command else None
        if program is not None and shutil.which(program) is None:
            missing.append(f"{name}: left out, {program} is not on the PATH")
        elif arm.wrapped and not _idle_possible():
            missing.append(f"{name}: left out, no idle group can be made here")
        else:
            found.append(arm)
    return found, missing


def all_names() -> list[str]:
    """Every filler that this benchmark knows."""
    return list(_all(40.0))


def daemon(*settings: str) -> tuple[str, ...]:
    """The command of our daemon with these settings (KEY=VALUE), and without Glances."""
    words = [word for one in (*settings, "GLANCES_ENABLED=false") for word in ("--set", one)]
    return (sys.executable, "-m", "optimizer", "run", *words)


def _all(target: float) -> dict[str, Arm]:
    percent = f"{target:g}"
    ratio = f"{target / 100:g}"
    ours = daemon(f"TARGET_CPU={percent}", "TARGET_MEMORY=0", "TARGET_DISK=0")
    blade = ("blade", "create", "cpu", "fullload", "--cpu-percent", percent)
    plain = {
        "stress-ng": (("stress-ng", "--cpu", str(CPUS), "--cpu-load", percent), None),
        "lookbusy": (("lookbusy", "-c", percent), None),
        "neveridle": (("NeverIdle", "-cp", ratio), None),
        "chaosblade": (blade, ("blade", "destroy", "cpu", "fullload")),
    }
    arms = {
        "none": Arm(name="none", command=None, target=target),
        "ours": Arm(name="ours", command=ours, target=target),
    }
    for name, (command, undo) in plain.items():
        for wrapped in (False, True):
            full = f"{name}-wrapped" if wrapped else name
            arms[full] = Arm(name=full, command=command, target=target, wrapped=wrapped, undo=undo)
    return arms


def enter(directory: Path | None, *, idle_class: bool = False) -> Callable[[], None]:
    """What a child does before its exec: joins the group, and takes the idle class."""

    def join() -> None:
        if directory is not None:
            (directory / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        if idle_class:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    return join


@contextlib.contextmanager
def group(name: str, *, idle: bool = False) -> Iterator[Path | None]:
    """A CPU control group at the top of the hierarchy; None, and a word why, where it is denied."""
    try:
        directory = _make_group(name, idle=idle)
    except OSError as exc:
        print(f"no control group {name}: {exc}", file=sys.stderr)
        yield None
        return
    try:
        yield directory
    finally:
        for _ in range(100):
            try:
                directory.rmdir()
            except OSError:
                time.sleep(0.05)
            else:
                break
        else:
            print(f"left behind, still in use: {directory}", file=sys.stderr)


def _make_group(name: str, *, idle: bool) -> Path:
    """Raises OSError."""
    top = next((path for path in (_V1, _V1_JOINED) if (path / "cpu.shares").exists()), _V2)
    if top == _V2:
        control = top / "cgroup.subtree_control"
        if "cpu" not in control.read_text(encoding="ascii").split():
            control.write_text("+cpu", encoding="ascii")
    directory = top / name
    directory.mkdir()
    if idle:
        try:
            (directory / "cpu.idle").write_text("1", encoding="ascii")
        except OSError:
            directory.rmdir()
            raise
    return directory


def _idle_possible() -> bool:
    try:
        directory = _make_group(f"bench-probe-{os.getpid()}", idle=True)
    except OSError:
        return False
    directory.rmdir()
    return True


def _memory_directory() -> str | None:
    path = "/dev/shm"  # noqa: S108  # a directory of its own is made in it
    return path if os.path.isdir(path) else None


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole session of a filler, by its leader's pid."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        if not _session_alive(process.pid):
            return


def _session_alive(leader: int) -> bool:
    until_s = time.monotonic() + 1.0
    while time.monotonic() < until_s:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


def facts() -> str:
    """What this machine is, in one line."""
    version = "1" if (_V1 / "cpu.shares").exists() or _V1_JOINED.exists() else "2"
    try:
        text = Path("/proc/sys/kernel/sched_autogroup_enabled").read_text(encoding="ascii")
        autogroup = "on" if text.strip() == "1" else "off"
    except OSError:
        autogroup = "none"
    tick_ms = 1000 * time.clock_getres(6)
    return (
        f"{CPUS} CPUs, kernel {os.uname().release}, tick {tick_ms:g} ms, "
        f"CPU control groups version {version}, autogroup {autogroup}"
    )
