"""Somebody exchanges files and directories while the recovery tool works on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recover.homes import read_filler, read_runtime, read_state
from recover.model import Places
from recover.repairs import clean, lift_inhibit, set_inhibit
from tests.conftest import NOBODY

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="the attacker is another user"
)

_ATTACKER = """
import os, random, sys
work, foreign, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
os.chdir(work)
chance = random.Random(seed)
FILES = ("run/status.json", "run/roster.json", "run/lock", "run/glances/glances.conf",
         "state/inhibit", ".cloud-resource-optimizer/held-0123456789abcdef")
FOLDERS = ("run", "state", "run/glances", ".cloud-resource-optimizer")
def plant(path):
    victim = os.path.join(foreign, os.path.basename(path))
    way = chance.randrange(5)
    new = path + ".new"
    if way == 0: os.symlink(victim, new)
    elif way == 1: os.link(os.path.join(foreign, "linked", os.path.basename(path)), new)
    elif way == 2: os.mkfifo(new)
    elif way == 3: os.mkdir(new)
    else:
        made = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        if os.path.exists(victim): os.write(made, open(victim, "rb").read())
        os.close(made)
    try: os.replace(new, path)
    except IsADirectoryError: os.rmdir(path); os.replace(new, path)
def swap(path):
    aside = path + ".aside"
    os.rename(path, aside)
    os.symlink(foreign, path)
    for _ in range(chance.randrange(20)): os.lstat(path)
    os.unlink(path)
    os.rename(aside, path)
def mend():
    for path in FOLDERS:
        if os.path.islink(path): os.unlink(path)
        if os.path.isdir(path + ".aside") and not os.path.exists(path):
            os.rename(path + ".aside", path)
        if not os.path.isdir(path): os.mkdir(path, 0o700 if "." in path else 0o755)
os.write(1, b"r")
swaps = 0
while os.getppid() == int(sys.argv[4]):
    try:
        if chance.random() < 0.5: plant(chance.choice(FILES))
        else: swap(chance.choice(FOLDERS))
        swaps += 1
    except OSError:
        try:
            for path in FILES:
                if os.path.isdir(path + ".new") : os.rmdir(path + ".new")
                elif os.path.lexists(path + ".new"): os.unlink(path + ".new")
            mend()
        except OSError: pass
    if swaps % 1000 == 999: os.write(1, b"s"); swaps += 1
"""

_OBSERVER = """
import json, os, sys
foreign = sys.argv[1]
def look():
    found = {}
    for base, folders, files in os.walk(foreign):
        for name in (*folders, *files):
            path = os.path.join(base, name)
            status = os.lstat(path)
            content = open(path).read() if name in files else ""
            times = [status.st_mode, status.st_uid, status.st_ino, status.st_mtime_ns]
            found[path] = [*times, content]
    return found
before = look()
os.write(1, b"r")
looks, touched = 0, 0
while not os.path.exists(sys.argv[2]):
    looks += 1
    try: touched += look() != before
    except OSError: touched += 1
touched += look() != before
print(json.dumps({"looks": looks, "touched": touched}))
"""

_LIKE_OURS = {
    "lock": '{"pid": 4711, "started_utc_s": 1.5}',
    "roster.json": '{"boot_id": "b", "processes": []}',
    "status.json": '{"version": 1, "pid": 4711, "resources": {}}',
    "glances.conf": "[amp_optimizer]\n",
}
"""Content that would be removed, so that only its place protects a file."""


@pytest.mark.parametrize("rounds", [300, pytest.param(20_000, marks=pytest.mark.long)])
def test_an_attacker_who_swaps_names_gets_no_foreign_file_touched(
    tmp_path: Path, rounds: int
) -> None:
    """Links, hard links, pipes and exchanged directories, in all that root cleans for a user.

    Counted by another process, which compares names, contents and times of
    files that the attacker may link to but not change.
    """
    tmp_path.chmod(0o755)
    for above in tmp_path.parents[:2]:
        above.chmod(0o755)
    work, foreign, done = tmp_path / "work", tmp_path / "foreign", tmp_path / "done"
    work.mkdir()
    for name in ("run", "state", "run/glances", ".cloud-resource-optimizer"):
        (work / name).mkdir(mode=0o755)
    foreign.mkdir()
    (foreign / "glances").mkdir()
    (foreign / "linked").mkdir()
    for name in (
        "status.json",
        "status.txt",
        "roster.json",
        "lock",
        "glances.conf",
        "glances/glances.conf",
        "history.sqlite3",
        "held-0123456789abcdef",
    ):
        content = _LIKE_OURS.get(os.path.basename(name), f"precious {name}")
        (foreign / name).write_text(content)
        # Apart, for a second name alone protects a file; he may link to what he may write to.
        linked = foreign / "linked" / os.path.basename(name)
        linked.write_text(content)
        linked.chmod(0o666)
    for path in (work, *work.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    observer = subprocess.Popen(
        [sys.executable, "-c", _OBSERVER, str(foreign), str(done)], stdout=subprocess.PIPE
    )
    attacker = subprocess.Popen(
        [sys.executable, "-c", _ATTACKER, str(work), str(foreign), "1", str(os.getpid())],
        stdout=subprocess.PIPE,
    )
    try:
        assert observer.stdout is not None
        assert attacker.stdout is not None
        assert observer.stdout.read(1) == attacker.stdout.read(1) == b"r"
        results = attacked(work, rounds)
        assert attacker.poll() is None, "the attacker has ended"
    finally:
        attacker.kill()
        attacked_words, _ = attacker.communicate(timeout=10)
        done.touch()
        seen, _ = observer.communicate(timeout=30)
    counted = json.loads(seen)
    print(f"{rounds} rounds, {results}, {len(attacked_words)}000 swaps, {counted}")
    assert counted["touched"] == 0
    assert counted["looks"] > 0
    assert results.get("done", 0) > 0, "nothing was ever removed: the test proves nothing"
    if rounds > 1000:
        assert results.get("refused", 0) > 0, "nothing was ever refused: no attack was met"


def attacked(work: Path, rounds: int) -> dict[str, int]:
    """Clean, forbid and allow so many times; how the acts went."""
    places = Places(str(work / "state"), str(work / "run"), "--workspace", named=True)
    results: dict[str, int] = {}
    for _ in range(rounds):
        acts = []
        for home in (read_runtime(places), read_filler(str(work))):
            if home.fault:
                results["refused"] = results.get("refused", 0) + 1
            elif not home.missing:
                acts += clean(home)
        state = read_state(places)
        if not state.missing and not state.fault:
            acts += [set_inhibit(state), lift_inhibit(state)]
        for act in acts:
            results[act.result] = results.get(act.result, 0) + 1
    return results
