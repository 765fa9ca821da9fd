"""Where an idle group must be: what a tenant in another group feels of a busy loop in it.

    python3 benchmarks/idle_place.py        needs root and cpu.idle; takes 25 s

The tenant and the loop share one CPU. The tenant's share is that of a loop of
its own; its lateness is how much later a request is answered that takes 2 ms of
CPU time and comes each 5 ms. All is in a group of the highest weight, which
stands for the top, so that other programs on the host hardly count.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from pathlib import Path

ROUNDS = 3
SHARE_S = 1.0
REQUESTS, EACH_S, WORK_S = 200, 0.005, 0.002
NAME = f"idle-place-{os.getpid()}"
PLACES = {
    "no loop": None,
    "loop in a normal group": "ours",
    "loop in an idle group inside a normal one": "ours/idle",
    "loop in an idle group at the top": "idle",
}


def top() -> Path:
    """The hierarchy with the CPU controller. Raises SystemExit where there is none for us."""
    for found in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")):
        if (found / "cgroup.procs").exists() and os.access(found, os.W_OK):
            return found
    raise SystemExit("needs root, and control groups with a CPU controller")


def make(parent: Path) -> dict[str, Path]:
    """The group that stands for the top, the tenant's, and those of the loop."""
    names = ("", "tenant", "ours", "ours/idle", "idle")
    groups = {name: parent / NAME / name for name in names}
    unified = (parent / "cgroup.subtree_control").exists()
    if unified:
        (parent / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
    for name, group in groups.items():
        group.mkdir()
        if name in {"", "ours"} and unified:
            (group / "cgroup.subtree_control").write_text("+cpu", encoding="ascii")
        if name.endswith("idle"):
            (group / "cpu.idle").write_text("1", encoding="ascii")
    heavy = ("cpu.weight", "10000") if unified else ("cpu.shares", "262144")
    (groups[""] / heavy[0]).write_text(heavy[1], encoding="ascii")
    return groups


def in_group(group: Path, cpu: int, body: str) -> tuple[int, int]:
    """A child in that group on that CPU: its pid, and where its answer can be read."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os.sched_setaffinity(0, {cpu})
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        answer = {"loop": loop, "share": share, "late": late}[body]()
        os.write(write, str(answer).encode())
        os._exit(0)
    os.close(write)
    return pid, read


def loop() -> float:
    """Use the CPU until killed."""
    while True:
        pass


def share() -> float:
    """Share of the CPU that a busy loop gets."""
    begun_s, used_s = time.monotonic(), time.process_time()
    while time.monotonic() < begun_s + SHARE_S:
        pass
    return (time.process_time() - used_s) / (time.monotonic() - begun_s)


def late() -> float:
    """How late a request is answered, in milliseconds, at the 99th percentile."""
    found = []
    for _ in range(REQUESTS):
        due_s = time.monotonic() + EACH_S - WORK_S
        time.sleep(EACH_S - WORK_S)
        until_s = time.process_time() + WORK_S
        while time.process_time() < until_s:
            pass
        found.append(time.monotonic() - due_s - WORK_S)
    return statistics.quantiles(found, n=100)[98] * 1000


def answer_of(group: Path, cpu: int, body: str) -> float:
    """What the tenant measures."""
    pid, read = in_group(group, cpu, body)
    with os.fdopen(read) as file:
        said = file.read()
    os.waitpid(pid, 0)
    return float(said)


def main() -> int:
    """Measure each place in turn, and print the medians of the rounds."""
    parent, cpu = top(), max(os.sched_getaffinity(0))
    groups = make(parent)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in PLACES}
    try:
        for _ in range(ROUNDS):
            for name, place in PLACES.items():
                ours = None if place is None else in_group(groups[place], cpu, "loop")
                tenant = groups["tenant"]
                figures = answer_of(tenant, cpu, "share"), answer_of(tenant, cpu, "late")
                found[name].append(figures)
                if ours is not None:
                    os.kill(ours[0], signal.SIGKILL)
                    os.waitpid(ours[0], 0)
                    os.close(ours[1])
    finally:
        for group in sorted(groups.values(), key=lambda one: -len(one.parts)):
            group.rmdir()
    sys.stdout.write(f"{'':44}  share of a CPU   late p99, ms\n")
    for name, figures_of in found.items():
        shares, lates = zip(*figures_of, strict=True)
        median = statistics.median
        sys.stdout.write(f"{name:44}  {median(shares):14.2f}  {median(lates):13.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
