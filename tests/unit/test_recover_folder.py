"""Files in our directories: what is removed, what is refused, and what is never followed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recover import folder as folder_module
from recover import kernel
from recover.facts import _signed
from recover.folder import RefusedError, open_folder
from recover.homes import read_filler, read_inhibit, read_runtime, read_state
from recover.model import Home, Places
from recover.repairs import clean, lift_inhibit, set_inhibit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")

NOBODY = 65534


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A runtime directory of a daemon, empty."""
    path = tmp_path / "run"
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    return path


def places(path: Path) -> Places:
    """Both directories of a daemon that somebody has named."""
    return Places(str(path), str(path), "--workspace", named=True)


def removed(path: Path) -> list[tuple[str, str]]:
    """Clean a runtime directory: name and result of each act."""
    acts = clean(read_runtime(places(path)))
    return [(os.path.basename(act.target), act.result) for act in acts]


LOCKED = '{"pid": 4711, "started_utc_s": 1.5, "boot_id": "b"}'
LISTED = '{"boot_id": "b", "controller": null, "processes": []}'
SHOWN = '{"version": 1, "pid": 4711, "resources": {}}'
PAGE = "# Written by optimizer\n[global]\n\n[amp_optimizer]\nenable=true\n"
OURS = {"lock": LOCKED, "roster.json": LISTED, "status.json": SHOWN, "glances/glances.conf": PAGE}


def fill(folder: Path, files: dict[str, str]) -> None:
    """Write files, and the directories above them."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def files_in(folder: Path) -> set[str]:
    """All files below, by their names from there."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


def test_what_a_killed_daemon_leaves_is_removed_and_the_rest_stays(run: Path) -> None:
    """What proves it goes last, the lock after all; anybody's files stay."""
    mute = ("status.txt", ".status.json.0123456789abcdef.tmp", "glances/optimizer.pwd")
    logs = ("glances/glances/glances.log", "glances/glances/glances.log.1")
    kept = {"temp_cpu.dat", "status.json.old", ".status.json.x.tmp", "glances/glances.log"}
    fill(run, {**OURS, **dict.fromkeys((*mute, *logs, *kept), "{}")})
    acts = removed(run)
    assert {result for _, result in acts} == {"done"}
    names = [name for name, _ in acts]
    assert names[-1] == "lock"
    assert names.index("status.txt") < names.index("status.json")
    assert files_in(run) == kept
    assert not (run / "glances" / "glances").exists()
    assert removed(run) == []


@pytest.mark.parametrize("sign", [*OURS])
def test_one_file_that_is_proven_ours_is_enough(run: Path, sign: str) -> None:
    """What cannot say whose it is goes with it; so does what is empty since it was cut off."""
    mute = dict.fromkeys(("status.txt", "glances/optimizer.pwd", "glances/glances/glances.log"), "")
    fill(run, {**dict.fromkeys(OURS, ""), **mute, sign: OURS[sign]})
    assert {result for _, result in removed(run)} == {"done"}
    assert list(run.iterdir()) == []


def test_names_alone_make_no_file_ours(run: Path) -> None:
    """A named directory may be another program's; its files are told of and stay."""
    foreign = {
        "lock": "4242",
        "status.json": '{"service": "billing"}',
        "status.txt": "all is well",
        "roster.json": '{"teams": [], "processes": []}',
        "glances/glances.conf": "[global]\n",
        "glances/optimizer.pwd": "x",
        "glances/glances/glances.log": "x",
    }
    fill(run, foreign)
    assert {one.name for one in read_runtime(places(run)).leftovers if one.fault} == set(foreign)
    assert removed(run) == []
    assert files_in(run) == set(foreign)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lock", '{"pid": true, "started_utc_s": 1}'),
        ("lock", '{"pid": 1}'),
        ("lock", ""),
        ("roster.json", '{"boot_id": "b"}'),
        ("roster.json", "[]"),
        ("status.json", '{"version": 1, "pid": "1", "resources": {}}'),
        ("status.json", '{"version": 1, "pid": 1}'),
        ("glances/glances.conf", "# [amp_optimizer] is not here\n"),
    ],
)
def test_a_file_that_is_not_quite_ours_stays(run: Path, name: str, content: str) -> None:
    """Nor does it make anything beside it ours."""
    fill(run, {name: content, "status.txt": "mine"})
    assert removed(run) == []
    assert files_in(run) == {name, "status.txt"}


def test_what_proves_the_others_stays_while_one_of_them_stays(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next look would take what is left for somebody else's."""
    fill(run, {**OURS, "status.txt": ""})
    real = folder_module.Folder.remove

    def denied(self: folder_module.Folder, name: str) -> bool:
        if name == "status.txt":
            raise PermissionError(1, "Operation not permitted")
        return real(self, name)

    monkeypatch.setattr(folder_module.Folder, "remove", denied)
    assert removed(run) == [("status.txt", "failed")]
    assert files_in(run) == {*OURS, "status.txt"}


def test_a_directory_of_the_page_that_is_a_link_is_not_followed(run: Path, tmp_path: Path) -> None:
    """Neither for its files nor when it is exchanged after the look."""
    victim = tmp_path / "victim"
    fill(victim, {"glances.log": "precious"})
    fill(run, {**OURS, "glances/glances/glances.log": ""})
    home = read_runtime(places(run))
    (run / "glances" / "glances" / "glances.log").unlink()
    (run / "glances" / "glances").rmdir()
    (run / "glances" / "glances").symlink_to(victim)
    clean(home)
    assert files_in(victim) == {"glances.log"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere both kinds of lock are one")
@pytest.mark.parametrize("kind", ["LOCK_EX", "LOCK_SH"])
def test_a_lock_that_is_held_through_fcntl_is_held(run: Path, kind: str) -> None:
    """Though flock would be granted: the look says so, and the removal sees it too."""
    fill(run, OURS)
    free = read_runtime(places(run))
    assert free.lock is not None
    assert free.lock.held is False
    program = (
        "import fcntl, os, sys; file = open(sys.argv[1], 'r+');"
        f"fcntl.lockf(file, fcntl.{kind} | fcntl.LOCK_NB, 1, 7);"
        "os.write(1, b'r'); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(run / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.read(1) == b"r"
        held = read_runtime(places(run)).lock
        acts = clean(free)
        holder.communicate(timeout=10)
    assert held is not None
    assert held.held is True
    assert [act.result for act in acts] == ["refused"]
    assert files_in(run) == set(OURS)


@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="needs root")
def test_a_roster_is_of_the_user_whose_file_was_read(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner tells whose processes may be ended: a file of root's, exchanged, lends nothing."""
    fill(run, {**OURS, "of root": ""})
    for path in (run, run / "roster.json", run / "lock"):
        os.chown(path, NOBODY, NOBODY)
    before, look = [(run / "of root").stat()], folder_module.Folder.look
    monkeypatch.setattr(
        folder_module.Folder,
        "look",
        lambda self, name: before.pop() if before and name != "lock" else look(self, name),
    )
    roster = read_runtime(places(run)).roster
    assert before == []
    assert roster is not None
    assert roster.uid == NOBODY


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _hard(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def _fifo(path: Path, victim: Path) -> None:  # noqa: ARG001 - all are called alike
    os.mkfifo(path)


def _directory(path: Path, victim: Path) -> None:  # noqa: ARG001 - all are called alike
    path.mkdir()
    (path / "kept").write_text("")


def _socket(path: Path, victim: Path) -> None:  # noqa: ARG001 - all are called alike
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket must be short
        one.bind(path.name)
        os.chdir(here)


def _foreign(path: Path, victim: Path) -> None:  # noqa: ARG001 - all are called alike
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    path.write_text("")
    os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize("name", ["status.json", "roster.json", "lock"])
@pytest.mark.parametrize("plant", [_link, _hard, _fifo, _directory, _socket, _foreign])
def test_what_only_has_our_name_stays(
    run: Path, tmp_path: Path, name: str, plant: Callable[[Path, Path], None]
) -> None:
    """Links, pipes, directories, sockets, others' files: named as not ours, and left."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    plant(run / name, victim)
    home = read_runtime(places(run))
    assert [one.fault != "" for one in home.leftovers if one.name == name] == [True]
    assert removed(run) == []
    assert os.path.lexists(run / name)
    assert victim.read_text() == "precious"


def test_nothing_is_removed_where_others_may_write(run: Path) -> None:
    """They could exchange a file between look and removal."""
    (run / "status.json").write_text(SHOWN)
    run.chmod(0o777)
    assert removed(run) == []
    assert (run / "status.json").exists()


def test_a_file_that_is_exchanged_while_it_is_looked_at_stays(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file by name and the file by descriptor must be one."""
    (run / "status.json").write_text("a")

    def looks_then_swaps(descriptor: int) -> os.stat_result:
        (run / "new").write_text("b")
        os.replace(run / "new", run / "status.json")
        return os.stat(run / "status.json") if descriptor < 0 else real(descriptor)

    with open_folder(str(run)) as opened:
        before = opened.look("status.json")
        real = os.fstat
        monkeypatch.setattr(opened, "look", lambda _: before)
        looks_then_swaps(-1)
        with pytest.raises(RefusedError, match="exchanged"):
            opened.remove("status.json")
    assert (run / "status.json").read_text() == "b"


@pytest.mark.parametrize("openat2", [True, False])
def test_links_on_the_way_are_followed_only_when_root_or_we_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, openat2: bool
) -> None:
    """And never in a directory to which others may write; the same without openat2."""
    monkeypatch.setattr(kernel, "_openat2_missing", [] if openat2 else [38])
    real, open_to_all = tmp_path / "real", tmp_path / "all"
    (real / "run").mkdir(parents=True)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (tmp_path / "link").symlink_to("real")
    (open_to_all / "link").symlink_to(real)
    for path in (tmp_path / "link" / "run", real / ".." / "real" / "run"):
        with open_folder(str(path)) as opened:
            assert os.fstat(opened.descriptor or 0).st_ino == os.stat(real / "run").st_ino
    with pytest.raises(RefusedError, match="symbolic link"):
        open_folder(str(open_to_all / "link" / "run"))
    with pytest.raises(RefusedError):
        kernel_open(str(tmp_path / "link" / "run"))
    with pytest.raises(FileNotFoundError):
        open_folder(str(tmp_path / "none" / "run"))


def kernel_open(path: str) -> None:
    """Open a path as it stands, as after an exchange that came too late to be seen."""
    try:
        os.close(kernel.open_directory(path))
    except OSError as exc:
        raise folder_module._refused(exc) from exc


def state(path: Path) -> Home:
    """A state directory as it is read."""
    return read_state(places(path))


def test_the_inhibit_is_set_once_and_lifted_as_resume_does(run: Path) -> None:
    """Without an end, readable by all; a second time is nothing; resume tells the daemon."""
    assert set_inhibit(state(run)).result == "done"
    order = json.loads((run / "inhibit").read_text())
    assert order["until_utc_s"] is None
    assert (run / "inhibit").stat().st_mode & 0o777 == 0o644
    assert set_inhibit(state(run)).result == "already"
    (run / "released").write_text("{}")
    assert lift_inhibit(state(run)).result == "done"
    assert sorted(p.name for p in run.iterdir()) == ["resumed"]
    assert lift_inhibit(state(run)).result == "already"


@pytest.mark.parametrize(
    ("content", "standing"),
    [
        (None, False),
        ('{"until_utc_s": 5e9}', False),
        ('{"until_utc_s": null}', True),
        ("", True),
        ("garbage", True),
    ],
)
def test_an_order_that_ends_is_replaced_by_one_that_does_not(
    run: Path, content: str | None, *, standing: bool
) -> None:
    """What cannot be understood is obeyed without an end, so it stays."""
    if content is not None:
        (run / "inhibit").write_text(content)
    with open_folder(str(run)) as opened:
        assert read_inhibit(opened).standing is standing
    set_inhibit(state(run))
    with open_folder(str(run)) as opened:
        assert read_inhibit(opened).standing is True


def test_a_link_in_the_place_of_the_inhibit_is_an_order_and_is_not_followed(
    run: Path, tmp_path: Path
) -> None:
    """Present means no load; lifting it removes the link and not what it leads to."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (run / "inhibit").symlink_to(victim)
    assert set_inhibit(state(run)).result == "already"
    lift_inhibit(state(run))
    assert victim.read_text() == "precious"
    assert not os.path.lexists(run / "inhibit")


@pytest.mark.parametrize(
    ("names", "mode", "left"),
    [
        ([], 0o700, None),
        (["held-0123456789abcdef"], 0o700, None),
        (["held-0123456789abcdef", "mine"], 0o700, ["mine"]),
        (["held-0123456789abcdeg"], 0o700, ["held-0123456789abcdeg"]),
        (["held-0123456789abcdef"], 0o755, ["held-0123456789abcdef"]),
    ],
)
def test_a_named_filler_file_goes_and_its_directory_when_nothing_else_is_in_it(
    tmp_path: Path, names: list[str], mode: int, left: list[str] | None
) -> None:
    """Only in a directory that is ours alone, only by the name that a stresser gives."""
    place = tmp_path / ".cloud-resource-optimizer"
    place.mkdir()
    place.chmod(mode)
    for name in names:
        (place / name).write_text("")
    home = read_filler(str(tmp_path))
    if not home.fault:
        clean(home)
    assert (sorted(os.listdir(place)) if place.exists() else None) == left


def test_a_directory_of_somebody_else_than_its_claimant_is_not_used(tmp_path: Path) -> None:
    """A user's configuration or mark cannot aim at a directory that is not his."""
    claimed = Places(str(tmp_path), str(tmp_path), "the mark", named=True, owner=NOBODY)
    assert "belongs to user" in read_state(claimed).fault
    assert "belongs to user" in read_runtime(claimed).fault


def test_a_directory_of_our_name_without_a_sign_of_ours_is_not_ours(run: Path) -> None:
    """Another program may be called optimizer; ours leaves a history or a lock."""
    default = Places(str(run), str(run), "default")
    for name in ("lock", "status.json", "data"):
        (run / name).write_text("4711")
    assert read_state(default).ours == ""
    assert read_runtime(default).ours == ""
    (run / "lock").write_text('{"pid": 4711, "started_utc_s": 1.5, "boot_id": "b"}')
    assert read_runtime(default).ours
    (run / "history.sqlite3").write_text("")
    assert read_state(default).ours


@pytest.mark.parametrize(
    ("name", "spreads"), [("released", False), ("inhibit", False), ("history.sqlite3", True)]
)
def test_a_state_directory_with_a_common_word_in_it_makes_no_other_ours(
    tmp_path: Path, name: str, *, spreads: bool
) -> None:
    """`released` may be anybody's file; our history is not."""
    for folder in ("state", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "state" / name).write_text("")
    default = Places(str(tmp_path / "state"), str(tmp_path / "run"), "default")
    states, runtimes = _signed((read_state(default),), (read_runtime(default),), [default])
    assert states[0].ours
    assert bool(runtimes[0].ours) is spreads
