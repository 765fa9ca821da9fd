"""A private Debian with a real systemd, for tests of what is installed; needs root and Linux.

It has its own processes, mounts, control groups and host name; the kernel, the
memory, the CPUs and the network are the host's. What is written lies in a layer
of its own that is thrown away in the end. When the test process dies, so does
the rig; what it leaves on the disk is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import pytest

from tests.installed import debian, groups, means, package_index

_SCRIPT = Path(__file__).with_name("boot.sh")
_BOOT_S = 90.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_AS_USER = (
    'user=$1; shift; exec setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "$@"'
)


class Booted:
    """The rig. `with Booted() as rig:` boots it; the test is skipped where that cannot be.

    `binds` are folders of the host that show at the same place inside, read-only.
    `on` is a folder with what is installed over the Debian tree, such as the
    `upper` of another rig that is switched off; it is not changed.
    `bounds` is all that it gets of the machine, as a container or a small host:
    what is inside then measures its own share, whatever others do beside it.
    `unified` boots it with version 2 of control groups alone, on a host with
    version 1 too; there it has no controllers.
    """

    def __init__(
        self,
        *,
        binds: Sequence[Path] = (),
        on: Path | None = None,
        bounds: groups.Bounds | None = None,
        unified: bool = False,
    ) -> None:
        self._unified = unified
        self._binds = list(binds)
        self._on = on
        self._bounds = bounds
        self._life = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._init: int | None = None
        self._groups: list[groups.Group] = []
        self._disks: list[str] = []
        self.console = ""

    def __enter__(self) -> Self:
        means.skip_without()
        try:
            self._tree = debian.tree()
            self._prepare()
        except debian.NoTreeError as exc:
            pytest.skip(f"no rig that boots systemd: {exc}")
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        rigs = debian.cache_folder() / "rigs"
        rigs.mkdir(exist_ok=True)
        means.sweep(rigs)
        self.folder = Path(tempfile.mkdtemp(prefix=means.PREFIX, dir=rigs))
        lock = self._life.enter_context((self.folder / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Before the lock is let go.
        self._life.callback(means.remove_folder, self.folder)
        for name in ("upper", "work", "root", "disks"):
            (self.folder / name).mkdir(mode=0o755)
        self.folder.chmod(0o755)
        self.upper = self.folder / "upper"
        package_index.take_over(self.upper)
        (self.upper / "etc/hostname").write_text("optimizer-rig\n", encoding="ascii")
        (self.upper / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
        self._binds += package_index.local_folders((self.upper / "etc/pip.conf").read_text())

    @property
    def init(self) -> int:
        """The host's number of its process 1."""
        assert self._init is not None, "the rig is switched off"
        return self._init

    @property
    def is_on(self) -> bool:
        """Whether its process 1 lives."""
        return self._process is not None and self._process.poll() is None

    def boot(self) -> None:
        """Switch it on, and wait until systemd has started what is to be started."""
        assert not self.is_on
        planned = groups.planned(self.folder.name, unified=self._unified)
        record = {"groups": [str(group.folder) for group in planned]}
        (self.folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
        self._groups = planned
        try:
            groups.make(planned)
            if self._bounds is not None:
                self._bounds.apply(planned)
        except OSError as exc:
            pytest.skip(f"no rig that boots systemd: control groups cannot be made: {exc}")
        master, console = pty.openpty()
        threading.Thread(target=self._listen, args=(master,), daemon=True).start()
        words = ["setpriv", "--pdeathsig", "KILL", "--"]
        words += ["unshare", "--cgroup", "--mount", "--uts", "--ipc", "--pid", "--fork"]
        words += ["--kill-child=SIGKILL", "--propagation", "private", "bash", str(_SCRIPT)]
        try:
            self._process = subprocess.Popen(
                [*_in_groups([group.folder for group in planned]), *words],
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                env={"PATH": _PATH, **self._boot_environment(os.ttyname(console))},
                start_new_session=True,
            )
        finally:
            os.close(console)
        self._let_go(self._process)
        self._init = self._wait_for_init()

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        # A group of version 2 that has processes of its own gives its children no controllers.
        end_s = time.monotonic() + _BOOT_S
        while _only_child(process.pid) is None and time.monotonic() < end_s:
            time.sleep(0.01)
        for group in self._groups:
            (group.outside / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
        assert process.stdin is not None
        process.stdin.close()

    def _boot_environment(self, console: str) -> dict[str, str]:
        return {
            "RIG_NAME": "optimizer-rig",
            "RIG_TREE": ":".join(map(str, filter(None, [self._on, self._tree]))),
            "RIG_UPPER": str(self.upper),
            "RIG_WORK": str(self.folder / "work"),
            "RIG_ROOT": str(self.folder / "root"),
            "RIG_CONSOLE": console,
            "RIG_GROUPS": "\n".join(f"{group.place} {group.options}" for group in self._groups),
            "RIG_DISKS": "\n".join(" ".join(_node(device)) for device in self._disks),
            "RIG_BINDS": "\n".join(map(str, self._binds)),
        }

    def _listen(self, master: int) -> None:
        # The other end fails with EIO once nobody has it open any more.
        with os.fdopen(master, "rb", buffering=0) as file, contextlib.suppress(OSError):
            while said := file.read(4096):
                self.console += said.decode("utf-8", errors="replace").replace("\r", "")

    def _wait_for_init(self) -> int:
        end_s = time.monotonic() + _BOOT_S
        state = "no process 1 yet"
        while time.monotonic() < end_s:
            assert self._process is not None
            if self._process.poll() is not None:
                self._switched_off()
                raise AssertionError(f"the rig ended while it booted:\n{self.console}")
            init = _only_child(self._process.pid)
            if init is not None and _name(init) == "systemd":
                self._init = init
                done = self.run(["systemctl", "is-system-running"], check=False)
                state = done.stdout.strip() or done.stderr.strip()
                if state in {"running", "degraded"}:
                    return init
            time.sleep(0.1)
        raise AssertionError(f"the rig is not up within {_BOOT_S:.0f} s, {state}:\n{self.console}")

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        check: bool = True,
        timeout: float = 60.0,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        stdin: str | IO[bytes] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, in `/`, as that user; output and errors as text.

        One that takes longer than `timeout` seconds is killed (code 124 or 137).
        With `check`, another code than 0 fails the test and shows what was said.
        """
        home = "/root" if user == "root" else "/"
        variables = {"HOME": home, "USER": user, "PATH": _PATH, "LC_ALL": "C.UTF-8"}
        variables |= package_index.network_environment(os.environ) | dict(env or {})
        words = ["env", "-i", *(f"{key}={value}" for key, value in variables.items())]
        words += ["timeout", "-k", "2", str(timeout)]
        if user != "root":
            words += ["sh", "-c", _AS_USER, "-", user]
        done = subprocess.run(
            [*self.entering(), *words, *map(str, argv)],
            input=stdin if isinstance(stdin, str) else None,
            stdin=None if isinstance(stdin, str) else (stdin or subprocess.DEVNULL),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout + 20,
        )
        shown = " ".join(map(str, argv))
        said = f"{shown}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    def entering(self) -> list[str]:
        """The words before a command of the host that run it inside, as root."""
        inside = []
        for group in self._groups:
            scope = group.folder / "init.scope"
            inside.append(scope if scope.is_dir() else group.folder)
        spaces = ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-p", "-C", "--"]
        return [*_in_groups(inside), *spaces]

    def put(self, source: Path, target: str) -> None:
        """Copy a file or a folder of the host to that path inside; belongs to root there."""
        inside = Path(target)
        self.run(["mkdir", "-p", str(inside.parent)])
        rename = f"s,^{source.name},{inside.name},"
        words = ["tar", "-C", str(source.parent), "--transform", rename, "-c", source.name]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as packer:
            assert packer.stdout is not None
            unpack = ["tar", "-C", str(inside.parent), "--no-same-owner", "-x"]
            self.run(unpack, stdin=packer.stdout, timeout=120)
        assert packer.returncode == 0, words

    def write(self, target: str, text: str) -> None:
        """Write a file inside, mode 0644."""
        self.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "-", target], stdin=text)

    def read(self, target: str) -> str:
        """What a file inside holds."""
        return self.run(["cat", target]).stdout

    def disk(self, name: str, *, size_mb: int) -> str:
        """Make an ext4 on a loop device: its path inside. It stays over a power loss."""
        image = self.folder / "disks" / name
        with image.open("wb") as file:
            file.truncate(size_mb * 2**20)
        means.host("mkfs.ext4", "-q", "-F", str(image))
        try:
            device = means.host("losetup", "--find", "--show", str(image)).strip()
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"no loop device can be had: {exc.stderr.strip()}")
        self._disks.append(device)
        self.run(["mknod", "-m", "660", *_node(device)])
        return device

    def journal(self, *words: str, lines: int = 300) -> str:
        """The last lines of the journal, also when it is switched off; `words` go to journalctl."""
        argv = ["journalctl", "--no-pager", "-o", "short-precise", "-n", str(lines), *words]
        if self.is_on:
            return self.run(argv, check=False).stdout
        place = f"--directory={self.upper / 'var/log/journal'}"
        return subprocess.run([*argv, place], capture_output=True, text=True, check=False).stdout

    def told(self) -> str:
        """The ends of what is on its console and in its journal, for the report of a failure."""
        return f"{self.console[-3000:]}\n{self.journal()}\n"

    def power_loss(self) -> None:
        """Kill its process 1, and all others with it; what is on its disks stays."""
        os.kill(self.init, 9)
        self._wait_for_end(20.0)

    def power_off(self, *, deadline_s: float = 60.0) -> None:
        """Shut it down in order."""
        self.run(["systemctl", "--no-block", "poweroff"])
        self._wait_for_end(deadline_s)

    def _wait_for_end(self, deadline_s: float) -> None:
        assert self._process is not None
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not off within {deadline_s:.0f} s:\n{self.console}") from None
        self._switched_off()

    def _switched_off(self) -> None:
        self._process = self._init = None
        groups.remove([group.folder for group in self._groups])

    def close(self) -> None:
        """Switch it off as it is, and remove all that it had on the host."""
        with self._life:
            if self.is_on:
                assert self._process is not None
                self._process.kill()
                self._process.wait(20.0)
                self._switched_off()


@contextlib.contextmanager
def booted(
    *,
    binds: Sequence[Path] = (),
    on: Path | None = None,
    bounds: groups.Bounds | None = None,
    unified: bool = False,
) -> Iterator[Booted]:
    """A running rig; when the block fails it is told how it went in there."""
    with Booted(binds=binds, on=on, bounds=bounds, unified=unified) as rig:
        try:
            yield rig
        except BaseException:
            sys.stdout.write(rig.told())
            raise


def _in_groups(folders: Sequence[Path]) -> list[str]:
    script = 'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs"; shift; done; shift; exec "$@"'
    return ["sh", "-euc", script, "-", *map(str, folders), "--"]


def _only_child(pid: int) -> int | None:
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(words[0]) if words else None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _node(device: str) -> list[str]:
    """What mknod(1) is told to make a device of the host known inside."""
    number = os.stat(device).st_rdev
    return [device, "b", str(os.major(number)), str(os.minor(number))]
