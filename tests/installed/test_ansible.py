"""The Ansible role, applied in a booted systemd that is its controller too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.installed.booted import Booted, booted
from tests.installed.service import BOUNDS, CLONE, CONFIG, REPOSITORY, STATUS, clone
from tests.paths import CHECKOUT
from tests.rig import eventually

pytestmark = pytest.mark.installed
BIN = "/root/ansible/bin"
INVENTORY = "/root/inventory.json"
PROGRAM = "/opt/cloud-resource-optimizer"
QUICK: dict[str, object] = {
    "CHECK_INTERVAL_SECONDS": 1,
    "TARGET_CPU": 40,
    "HOLD_OFF_SECONDS": 1,
    "TARGET_MEMORY": 0,
    "TARGET_DISK": 0,
    "GLANCES_ENABLED": False,
    "GLANCES_PASSWORD": "it's a \\ ${x} #1",
    "MAINTENANCE_WINDOWS": "0 2 1 1 * 2h Europe/Berlin; 30 1 2 1 * 90m Asia/Shanghai",
}
_PLAY_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a playbook ended: its exit code, how many tasks changed something, what it said."""

    code: int
    changed: int
    said: str


class Fleet:
    """One host, the rig, and the controller that is in it."""

    def __init__(self, rig: Booted) -> None:
        self.rig = rig

    def run(self, *argv: str) -> Played:
        """Run a program of ansible in the folder of the role."""
        script = f'cd {CLONE}/ansible && exec "$@"'
        variables = {
            "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
        }
        words = ["sh", "-c", script, "-", f"{BIN}/{argv[0]}", *argv[1:]]
        done = self.rig.run(words, check=False, timeout=_PLAY_S, env=variables)
        said = done.stdout + done.stderr
        changed = sum(map(int, re.findall(r"^\w+ +: .*changed=(\d+)", said, re.MULTILINE)))
        return Played(code=done.returncode, changed=changed, said=said)

    def play(self, name: str, *words: str, **variables: object) -> Played:
        """Run a playbook; variables without the role's prefix."""
        given = {f"cloud_resource_optimizer_{key}": value for key, value in variables.items()}
        book = f"playbooks/{name}.yml"
        return self.run("ansible-playbook", "-i", INVENTORY, book, *words, "-e", json.dumps(given))

    def status(self) -> dict[str, Any]:
        """The status document of the daemon."""
        words = [f"{PROGRAM}/venv/bin/optimizer", "status", "--json"]
        found: dict[str, Any] = json.loads(self.rig.run(words, check=False).stdout)
        return found

    def cpu(self) -> dict[str, Any]:
        """What the daemon says of the CPU; to read it takes less CPU than to run a program."""
        found: dict[str, Any] = json.loads(self.rig.read(STATUS))["resources"]["cpu"]
        return found

    def pid(self) -> str:
        """The daemon's process."""
        return self.rig.run(["systemctl", "show", "--value", "-p", "MainPID", "optimizer"]).stdout

    def files(self) -> str:
        """Every file of the system but those that are written without our doing."""
        places = ["/etc", "/opt", "/usr", "/var/lib"]
        return self.rig.run(["find", *places, "-xdev", "-printf", "%p %m %u %s %T@\n"]).stdout


def _carries(cpu: dict[str, Any]) -> bool:
    return bool(cpu["reason"] == "holding" and (cpu["own"] or 0.0) > 0.1)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """A host without the service, with a clean clone and ansible."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("a clean clone needs a git checkout")
    with booted(bounds=BOUNDS) as rig:
        clone(rig)
        rig.run(["git", "clone", "--quiet", REPOSITORY, CLONE])
        rig.run(["python3", "-m", "venv", "/root/ansible"])
        lock = f"{CLONE}/ansible/requirements-test.txt"
        words = [f"{BIN}/python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock]
        installed = rig.run(words, check=False, timeout=200)
        if installed.returncode != 0:
            pytest.skip(f"ansible cannot be had: {installed.stderr.strip()[-300:]}")
        host = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
        rig.write(INVENTORY, json.dumps({"optimizer": {"hosts": {"here": host}}}))
        yield Fleet(rig)


@pytest.fixture(scope="module")
def applied(fleet: Fleet) -> Fleet:
    """The same host once the role was applied."""
    done = fleet.play("install", config=QUICK)
    assert done.code == 0, done.said
    return fleet


def test_ansible_lint_finds_nothing(fleet: Fleet) -> None:
    """The production profile, warnings as errors; and all playbooks can be read."""
    linted = fleet.run("ansible-lint", "--offline", "--nocolor")
    assert linted.code == 0, linted.said
    books = sorted(path.name for path in (CHECKOUT / "ansible/playbooks").glob("*.yml"))
    read = fleet.run("ansible-playbook", "--syntax-check", *(f"playbooks/{one}" for one in books))
    assert read.code == 0, read.said


def test_a_host_without_the_service(fleet: Fleet) -> None:
    """Check mode changes nothing, recovery works, status says so, all else refuses early."""
    before = fleet.files()
    tried = fleet.play("install", "--check", config=QUICK)
    assert tried.code == 0, tried.said
    assert tried.changed == 1
    assert "would be made and used" in tried.said
    recovered = fleet.play("recover")
    assert recovered.code == 0, recovered.said
    assert "here: exit 0, 0 done, 0 left" in recovered.said
    assert "here: not installed" in fleet.play("status").said
    refused = fleet.play("pause")
    assert refused.code != 0
    assert "is not on this host" in refused.said
    wrong = fleet.play("install", config=QUICK, wait_for="everything")
    assert "must be one of: daemon, cpu, all, got: everything" in wrong.said
    assert fleet.files() == before


def test_it_holds_and_a_second_run_changes_nothing(applied: Fleet) -> None:
    """By the wheel that the controller builds anew: the same bytes, so the same environment."""
    eventually(lambda: _carries(applied.cpu()), deadline_s=60, what="the CPU held by own load")
    assert applied.cpu()["target"] == 0.4
    assert applied.rig.run(["stat", "-c", "%U:%G %a", CONFIG]).stdout == "root:optimizer 640\n"
    pid = applied.pid()
    again = applied.play("install", config=QUICK)
    assert (again.code, again.changed) == (0, 0), again.said
    assert applied.pid() == pid


def test_a_changed_key_is_in_force_without_a_restart(applied: Fleet) -> None:
    """Reloaded, not restarted, and in force when the playbook ends; the password is not shown."""
    pid = applied.pid()
    done = applied.play("configure", "--diff", config={**QUICK, "TARGET_CPU": 44})
    assert done.code == 0, done.said
    assert applied.cpu()["target"] == 0.44
    assert applied.pid() == pid
    assert "it's" not in done.said
    again = applied.play("configure", config={**QUICK, "TARGET_CPU": 44})
    assert (again.code, again.changed) == (0, 0), again.said


def test_a_wrong_key_is_refused(applied: Fleet) -> None:
    """In check mode too; the message names it and the remedy, and what was in force stays."""
    before = applied.rig.read(CONFIG)
    for words in ((), ("--check",)):
        done = applied.play("configure", *words, config={**QUICK, "TARGET_CPUS": 5})
        assert done.code != 0
        assert re.search(r"TARGET_CPUS .*: unknown key; did you mean TARGET_CPU\?", done.said)
    assert applied.rig.read(CONFIG) == before
    assert applied.status()["config"]["ok"]


def test_a_program_that_does_not_start_is_replaced_by_the_one_from_before(applied: Fleet) -> None:
    """The environment, the units and the configuration from before are back, and it runs."""
    before = applied.rig.read(CONFIG), applied.rig.run(["readlink", f"{PROGRAM}/venv"]).stdout
    script = 'cp -r "$1" /root/broken && echo "raise SystemExit(3)" >/root/broken/optimizer/app.py'
    applied.rig.run(["sh", "-c", script, "-", CLONE])
    done = applied.play("install", config=QUICK, checkout="/root/broken")
    assert done.code != 0
    assert "The program from before runs again." in done.said, done.said
    assert applied.rig.read(CONFIG) == before[0]
    assert applied.rig.run(["readlink", f"{PROGRAM}/venv"]).stdout == before[1]
    eventually(lambda: applied.status()["running"], deadline_s=30, what="running again")


def test_pause_and_resume(applied: Fleet) -> None:
    """The load is gone when `pause` ends, who asks sees why, and back when `resume` ends."""
    paused = applied.play("pause", pause_duration="2h", pause_reason="patch day; $(x)")
    assert (paused.code, paused.changed) == (0, 1), paused.said
    assert applied.cpu()["reason"] == "inhibited"
    assert "paused: patch day; $(x)" in applied.play("status").said
    resumed = applied.play("resume")
    assert (resumed.code, resumed.changed) == (0, 1), resumed.said
    assert applied.status()["inhibit"] is None


def test_recover_and_resume(applied: Fleet) -> None:
    """Recovery stops the service and proves that nothing is left; twice is as good as once."""
    done = applied.play("recover")
    assert done.code == 0, done.said
    assert done.changed == 1
    assert re.search(r"here: exit 0, [1-9]\d* done, 0 left", done.said)
    assert not applied.status()["running"]
    again = applied.play("recover")
    assert (again.code, again.changed) == (0, 0), again.said
    resumed = applied.play("resume")
    assert resumed.code == 0, resumed.said
    assert applied.status()["running"]


def test_uninstall_leaves_the_history_alone(applied: Fleet) -> None:
    """The last one: of program, units, users and links nothing stays."""
    done = applied.play("uninstall")
    assert done.code == 0, done.said
    ours = ["(", "-name", "*optimizer*", "-o", "-nouser", ")"]
    elsewhere = [
        word for path in ("root", "srv", "tmp") for word in ("-not", "-path", f"/{path}/*")
    ]
    left = applied.rig.run(["find", "/", "-xdev", *ours, *elsewhere]).stdout.split()
    assert set(left) == {"/var/lib/optimizer", "/var/lib/optimizer/optimizer.env"}
    assert applied.rig.run(["test", "-s", "/var/lib/optimizer/history.sqlite3"]).returncode == 0
    assert "optimizer" not in applied.rig.run(["systemctl", "list-units", "--all"]).stdout
    again = applied.play("uninstall")
    assert (again.code, again.changed) == (0, 0), again.said
