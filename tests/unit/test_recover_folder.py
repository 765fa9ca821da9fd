"""Files in our directories: what is removed, what is refused, and what is never followed."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recover import folder as folder_module
from recover import kernel
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


def test_what_a_killed_daemon_leaves_is_removed_and_the_rest_stays(run: Path) -> None:
    """By its exact names; the lock goes last; the page's logs and anybody's files stay."""
    page = run / "glances"
    page.mkdir(mode=0o700)
    stale = ["status.json", "status.txt", "roster.json", ".status.json.0123456789abcdef.tmp"]
    for name in (*stale, "lock", "temp_cpu.dat", "status.json.old", ".status.json.x.tmp"):
        (run / name).write_text("{}")
    for name in ("glances.conf", "optimizer.pwd", "glances.log"):
        (page / name).write_text("")
    acts = removed(run)
    assert {result for _, result in acts} == {"done"}
    assert acts[-1][0] == "lock"
    assert {p.name for p in run.iterdir()} == {
        "temp_cpu.dat",
        "status.json.old",
        ".status.json.x.tmp",
        "glances",
    }
    assert [p.name for p in page.iterdir()] == ["glances.log"]
    assert removed(run) == []


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
    (run / "status.json").write_text("{}")
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
