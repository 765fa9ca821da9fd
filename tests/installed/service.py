"""The program installed as a service in a rig, as its operator and its kernel see it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from tests.installed.booted import Booted
from tests.installed.groups import Bounds
from tests.paths import CHECKOUT
from tests.rig import eventually

CLONE = "/root/cloud-resource-optimizer"
REPOSITORY = "/srv/cloud-resource-optimizer.git"
CONFIG = "/etc/optimizer/optimizer.env"
STATUS = "/run/optimizer/status.json"
USERS = ("optimizer", "optimizer-glances")
BOUNDS = Bounds(cpus=1.0, memory_mb=2048)
"""What a rig of these tests may use: a small host, whatever else runs on the machine."""
QUICK = {
    "CHECK_INTERVAL_SECONDS": "1",
    "TARGET_CPU": "30",
    "TARGET_MEMORY": "15",
    # What a test does beside it may use up the CPU quota of the rig for a moment.
    "HOLD_OFF_SECONDS": "1",
}
_INSTALL_S = 400.0
_BEGIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process inside; its number and its parent's there, its user and its command line."""

    pid: int
    parent: int
    user: str
    command: str


class Service:
    """`optimizer.service` in a running rig."""

    def __init__(self, rig: Booted, checkout: str = CLONE) -> None:
        self.rig = rig
        self.checkout = checkout

    def install(self) -> str:
        """Run `start.sh --install-service`; what it said."""
        words = [f"{self.checkout}/start.sh", "--install-service"]
        done = self.rig.run(words, timeout=_INSTALL_S)
        return done.stdout + done.stderr

    def uninstall(self, *words: str) -> str:
        """Run `start.sh --uninstall-service`; what it said."""
        argv = [f"{self.checkout}/start.sh", "--uninstall-service", *words]
        done = self.rig.run(argv, timeout=120)
        return done.stdout + done.stderr

    def configure(self, **settings: str) -> None:
        """Write the configuration, as an operator does; a running daemon reads it by itself."""
        text = "".join(f"{key}={value}\n" for key, value in {**QUICK, **settings}.items())
        # Renamed, so that no half of it is read.
        self.rig.write(f"{CONFIG}.new", text)
        self.rig.run(["chown", "root:optimizer", f"{CONFIG}.new"])
        self.rig.run(["chmod", "640", f"{CONFIG}.new"])
        self.rig.run(["mv", f"{CONFIG}.new", CONFIG])

    def control(self, *words: str, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run systemctl; what it said, whatever its code."""
        return self.rig.run(["systemctl", *words], check=False, timeout=timeout)

    def show(self, name: str, unit: str = "optimizer.service") -> str:
        """One property of a unit."""
        return self.rig.run(["systemctl", "show", "--value", "-p", name, unit]).stdout.strip()

    @property
    def is_active(self) -> bool:
        """Whether the unit has said that it is ready, and runs."""
        return self.control("is-active", "optimizer").stdout.strip() == "active"

    @property
    def main(self) -> int:
        """The number of its main process inside; 0 without one."""
        return int(self.show("MainPID"))

    def status(self) -> dict[str, Any]:
        """The status document; empty while there is none, or it is of an earlier process."""
        done = self.rig.run(["cat", STATUS], check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found if found.get("pid") == self.main else {}

    def resource(self, name: str) -> dict[str, Any]:
        """One resource of the status; empty while there is none."""
        found: dict[str, Any] = self.status().get("resources", {}).get(name, {})
        return found

    def is_holding(self) -> bool:
        """Whether the CPU is at its setpoint, by load of ours."""
        cpu = self.resource("cpu")
        if not cpu or cpu["now"] is None or cpu["setpoint"] is None:
            return False
        return bool(cpu["held"] > 0 and abs(cpu["now"] - cpu["setpoint"]) < 0.05)

    def wait_until_holding(self, *, deadline_s: float = _BEGIN_S) -> None:
        """Return once the target is held."""
        end_s = time.monotonic() + deadline_s
        while not self.is_holding():
            assert time.monotonic() < end_s, (
                f"not held after {deadline_s:.0f} s: {self.resource('cpu')}\n"
                f"{self.control('status', 'optimizer', 'optimizer-load').stdout}"
            )
            time.sleep(0.2)

    def processes(self) -> list[Process]:
        """All processes inside that belong to a user of ours, or run our programs."""
        lines = self.rig.run(["ps", "-eo", "pid=,ppid=,user:32=,args="]).stdout.splitlines()
        found = []
        for line in lines:
            pid, parent, user, command = line.split(maxsplit=3)
            if user in USERS or "/opt/cloud-resource-optimizer/" in command:
                found.append(Process(pid=int(pid), parent=int(parent), user=user, command=command))
        return found

    def daemon(self) -> list[Process]:
        """The controller and its stressers."""
        return [one for one in self.processes() if one.user == "optimizer"]

    def cpu_workers(self) -> list[Process]:
        """Those that burn CPU time now; their parent, the crew, only leads them."""
        pids, main = self.resource("cpu").get("pids", []), self.main
        return [one for one in self.daemon() if one.pid in pids and one.parent != main]

    def kill(self, pid: int, number: str = "KILL") -> None:
        """Send a signal inside."""
        self.rig.run(["kill", f"-{number}", str(pid)])

    def journal(self, unit: str = "optimizer", *words: str) -> str:
        """What the journal of this boot says of a unit."""
        return self.rig.journal("-b", "-u", unit, *words, lines=2000)

    def stop(self) -> float:
        """Stop it; how many seconds that took."""
        begun_s = time.monotonic()
        done = self.control("stop", "optimizer")
        assert done.returncode == 0, done.stderr
        return time.monotonic() - begun_s

    def start(self) -> None:
        """Start it, and wait until it holds."""
        done = self.control("start", "optimizer")
        assert done.returncode == 0, f"{done.stderr}\n{self.journal()[-4000:]}"
        self.wait_until_holding()

    def wait_for_another(self, main: int, *, deadline_s: float = _BEGIN_S) -> int:
        """Wait until another main process than that one runs and is ready; its number."""

        def changed() -> int:
            now = self.main
            return now if now not in {0, main} and self.is_active else 0

        found: int = eventually(changed, deadline_s=deadline_s, what=self.journal()[-2000:])
        return found

    def history_rows(self) -> int:
        """How many rows the history has."""
        done = self.rig.run(["optimizer", "history", "export"])
        return len(done.stdout.splitlines()) - 1


def clone(rig: Booted) -> None:
    """Put the committed state of this checkout inside, as a repository to clone from."""
    bare = rig.folder / "repository.git"
    words = ["git", "-c", "safe.directory=*", "clone", "--quiet", "--bare", "--no-hardlinks"]
    subprocess.run([*words, str(CHECKOUT), str(bare)], check=True, capture_output=True, text=True)
    rig.put(bare, REPOSITORY)
    rig.run(["git", "config", "--global", "safe.directory", "*"])


def files(rig: Booted) -> set[str]:
    """All names where an installation may write; what comes and goes by itself is left out."""
    places = ["/etc", "/opt", "/usr", "/var", "/run", "/home", "/root", "/srv", "/tmp"]  # noqa: S108
    words = ["find", *places, "-xdev", "-print"]
    found = set(rig.run(words).stdout.splitlines())
    return {name for name in found if not _PASSING.match(name)}


_PASSING = re.compile(
    r"/run/systemd/|/run/(log|user|lock|credentials|utmp)|/var/log/(journal|wtmp|btmp|lastlog)"
    r"|/var/lib/systemd/|/var/cache/|/root/\.(cache|gitconfig)|/tmp/systemd-private"
    r"|/var/tmp/systemd-private|/srv/|/root/cloud-resource-optimizer"
    r"|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|/etc/\.(pwd|updated)"
)
