"""How a disk lease is reached on a pretended filesystem, and files without a name on a real one."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stressers import btrfs, free, holder, place
from stressers.board import Board
from stressers.disk import STEP, Disk
from stressers.place import PlaceError, check_place
from tests.loopdev import ext4
from tests.stresser_fakes import FakeCrew, Heard

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reserves blocks by fallocate(2)")

MIB = 1 << 20


class Bench:
    """A Disk in a real directory that believes to have `room` bytes at first."""

    def __init__(self, folder: Path, room: int) -> None:
        self.heard = Heard()
        self.room = room
        self.now_s = 0.0
        self.disk = Disk(
            str(folder),
            lambda board: FakeCrew(board, self.heard),  # type: ignore[arg-type, return-value]  # by its doors
            self.heard,
            room=lambda _: self.room - self.disk.held_bytes,
        )

    def rounds(self, value: float, count: int = 20) -> int:
        """Turn the loop; bytes held afterwards."""
        for _ in range(count):
            self.disk.obey(value, self.now_s + 3.0, self.now_s)
            self.now_s += 0.01
        return self.disk.held_bytes

    def file(self) -> os.stat_result | None:
        """What the kernel says of the open file; None when there is none."""
        return None if self.disk._file is None else os.fstat(self.disk._file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory on a filesystem that can reserve space; skips where there is none."""
    try:
        check_place(str(tmp_path))
        descriptor, _ = holder.open_unnamed(str(tmp_path))
        try:
            holder.extend(descriptor, 0, 4096)
        finally:
            os.close(descriptor)
    except OSError as exc:
        pytest.skip(f"cannot reserve space in {tmp_path}: {exc}")
    return tmp_path


def test_the_file_has_the_size_of_the_lease_and_no_name(folder: Path) -> None:
    """Whole blocks, reserved in full, not linked anywhere; told before it grew."""
    bench = Bench(folder, 1 << 40)
    try:
        assert bench.rounds(10 * MIB + 5000) == 10 * MIB + 4096
        file = bench.file()
        assert file is not None
        assert (file.st_nlink, file.st_size) == (0, 10 * MIB + 4096)
        assert file.st_blocks * 512 >= file.st_size
        assert list(folder.iterdir()) == []
        assert bench.heard.lines == [("held", 10 * MIB + 4096)]
    finally:
        bench.disk.close()


def test_a_large_lease_is_reached_in_steps(folder: Path) -> None:
    """No step is larger than STEP, so that what is free is read again between them."""
    bench = Bench(folder, 1 << 40)
    try:
        bench.rounds(2 * STEP + MIB, 1)
        assert bench.disk.held_bytes == STEP
        assert bench.rounds(2 * STEP + MIB) == 2 * STEP + MIB
    finally:
        bench.disk.close()


def test_a_smaller_lease_cuts_and_none_closes_the_file(folder: Path) -> None:
    """At 0 the file is closed, so that nothing of ours prevents an unmount."""
    bench = Bench(folder, 1 << 40)
    bench.rounds(10 * MIB)
    assert bench.rounds(3 * MIB) == 3 * MIB
    file = bench.file()
    assert file is not None
    assert file.st_size == 3 * MIB
    assert bench.rounds(0) == 0
    assert bench.file() is None
    assert [value for _, value in bench.heard.lines] == [10 * MIB, 3 * MIB, 0]


def test_growth_stops_at_the_floor_and_says_so_once(folder: Path) -> None:
    """No more than may be taken; without any room the file is not even kept open."""
    bench = Bench(folder, 7 * MIB)
    try:
        assert bench.rounds(20 * MIB, 500) == 7 * MIB
        assert bench.heard.lines.count(("limited", ("floor", 7 * MIB))) == 1
        bench.rounds(0)
        bench.room = -1
        assert bench.rounds(20 * MIB, 500) == 0
        assert bench.file() is None
    finally:
        bench.disk.close()


def test_nothing_is_taken_when_the_path_leads_elsewhere(folder: Path) -> None:
    """After an unmount the path is on the filesystem below, which was not meant."""
    bench = Bench(folder, 1 << 40)
    bench.disk._device += 1
    assert bench.rounds(MIB) == 0
    assert bench.heard.lines == [("limited", ("moved", 0))]


@pytest.mark.parametrize(
    ("code", "by"),
    [
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.ENOSPC, "full"),
        (errno.EIO, "eio"),
    ],
)
def test_a_refusal_is_a_limit_with_its_name(folder: Path, code: int, by: str) -> None:
    """A filesystem that refuses is told once, and is no reason to give up."""
    bench = Bench(folder, 1 << 40)

    def refuses(_: str) -> tuple[int, bool]:
        raise OSError(code, os.strerror(code))

    bench.disk._open_file = refuses
    assert bench.rounds(MIB, 500) == 0
    assert bench.heard.lines == [("limited", (by, 0))]


def test_too_few_inodes_are_no_floor_of_space(folder: Path) -> None:
    """Which of the two has run short is told; the file is not even opened."""
    bench = Bench(folder, 1 << 40)

    def refuses(_: int | str) -> int:
        raise free.InodesError

    bench.disk._room = refuses
    assert bench.rounds(MIB, 500) == 0
    assert bench.heard.lines == [("limited", ("inodes", 0))]
    assert bench.file() is None


def test_a_filesystem_that_cannot_reserve_is_refused_by_name(folder: Path) -> None:
    """Nothing is ever written instead: the error names the filesystem and the place."""
    bench = Bench(folder, 1 << 40)

    def refuses(_: str) -> tuple[int, bool]:
        raise OSError(errno.EOPNOTSUPP, "no")

    bench.disk._open_file = refuses
    with pytest.raises(PlaceError, match=free.filesystem(str(folder))):
        bench.rounds(MIB)


def test_a_fresh_growth_is_not_counted_as_room_where_it_shows_late(folder: Path) -> None:
    """On a filesystem that shows growth with delay, room is what it shows less what we took."""
    bench = Bench(folder, 1 << 40)
    bench.disk._late_s = 30.0
    bench.disk._room = lambda _: 7 * MIB  # as if nothing had been taken
    try:
        assert bench.rounds(20 * MIB, 500) == 7 * MIB
    finally:
        bench.disk.close()


class Commits:
    """A btrfs that counts what is not committed, and when a commit was asked for."""

    piece_bytes = 4 * MIB

    def __init__(self) -> None:
        self.uncommitted = 0
        self.sizes: list[int] = []

    def uncommitted_bytes(self) -> int:
        """See Btrfs."""
        return self.uncommitted

    def start_sync(self, descriptor: int) -> None:
        """See Btrfs; notes how large the file is then."""
        self.sizes.append(os.fstat(descriptor).st_size)


def on_btrfs(bench: Bench) -> Commits:
    """Let a Disk believe to be on a btrfs."""
    commits = Commits()
    bench.disk._btrfs = commits  # type: ignore[assignment]  # by its doors
    return commits


def test_what_btrfs_does_not_show_yet_is_no_room(folder: Path) -> None:
    """Tenants' delayed writes and fresh reservations are subtracted."""
    bench = Bench(folder, 20 * MIB)
    on_btrfs(bench).uncommitted = 13 * MIB
    try:
        assert bench.rounds(30 * MIB, 300) == 7 * MIB
        assert ("limited", ("floor", 7 * MIB)) in bench.heard.lines
    finally:
        bench.disk.close()


def test_btrfs_is_asked_for_a_commit_after_each_change(folder: Path) -> None:
    """At once for what is given back, at most once a second for what is taken; not in between."""
    bench = Bench(folder, 1 << 40)
    commits = on_btrfs(bench)
    bench.rounds(10 * MIB)
    bench.rounds(11 * MIB)  # 0.2 s later, so it waits
    assert commits.sizes == [10 * MIB]
    bench.rounds(11 * MIB, 100)
    bench.rounds(11 * MIB, 300)
    assert commits.sizes == [10 * MIB, 11 * MIB]
    bench.rounds(6 * MIB, 1)
    bench.rounds(0, 1)
    assert commits.sizes == [10 * MIB, 11 * MIB, 6 * MIB, 0]
    assert bench.file() is None


def test_btrfs_gives_back_what_is_cut_for_no_extent_crosses_a_piece(folder: Path) -> None:
    """A cut inside a piece frees the whole piece and takes the rest anew."""
    bench = Bench(folder, 1 << 40)
    on_btrfs(bench)
    try:
        bench.rounds(19 * MIB)
        assert bench.rounds(10 * MIB) == 10 * MIB
        file = bench.file()
        assert file is not None
        assert (file.st_size, file.st_blocks * 512) == (10 * MIB, 10 * MIB)
    finally:
        bench.disk.close()


@pytest.mark.parametrize(
    ("total", "piece"),
    [(1 << 30, 1 << 20), (4 << 30, 4 << 20), (100 << 30, 64 << 20), (1 << 50, 256 << 20)],
)
def test_a_piece_is_a_thousandth_and_no_more_than_an_extent(total: int, piece: int) -> None:
    """So that what cannot be cut is within a tenth of a point, with few extents."""
    assert btrfs.piece_bytes(total) == piece


def test_the_counters_of_btrfs_are_summed_and_their_lack_waits(tmp_path: Path) -> None:
    """What is delayed and what is reserved; without counters a growth is late by a commit."""
    (tmp_path / "bytes_may_use").write_text("5000\n")
    (tmp_path / "bytes_reserved").write_text("700\n")
    seen = btrfs.Btrfs(str(tmp_path), MIB)
    assert (seen.uncommitted_bytes(), seen.late_s) == (5700, 0.0)
    hidden = btrfs.Btrfs(None, MIB)
    assert hidden.uncommitted_bytes() == 0
    assert hidden.late_s == btrfs.LATE_S
    # Elsewhere than on btrfs there are none, and asking for a commit does no harm.
    assert btrfs.mounted_at(str(tmp_path), sysfs=str(tmp_path)).late_s == btrfs.LATE_S
    with (tmp_path / "bytes_reserved").open() as file:
        seen.start_sync(file.fileno())


def test_what_cannot_be_cut_is_given_back_whole(folder: Path) -> None:
    """A filesystem that has gone read-only must not end the stresser, nor keep the space."""
    bench = Bench(folder, 1 << 40)
    bench.rounds(3 * MIB)
    assert bench.disk._file is not None
    os.close(bench.disk._file)
    bench.disk._file = os.open(folder, os.O_RDONLY)  # a directory refuses to be cut
    bench.disk.obey(MIB, bench.now_s + 3.0, bench.now_s)
    assert bench.disk.held_bytes == 0
    assert bench.rounds(MIB) == MIB
    bench.disk.close()


def test_a_name_for_an_instant_leaves_neither_file_nor_directory(tmp_path: Path) -> None:
    """Where there are no unnamed files, the name and its directory are gone when it returns."""
    descriptor = holder.open_and_unlink(str(tmp_path))
    try:
        assert os.fstat(descriptor).st_nlink == 0
        assert list(tmp_path.iterdir()) == []
    finally:
        os.close(descriptor)


def test_a_directory_that_is_not_ours_alone_is_not_used(tmp_path: Path) -> None:
    """Others could swap the file if they can write where its name is."""
    own = tmp_path / holder.FALLBACK_DIRECTORY
    own.mkdir()
    own.chmod(0o777)
    with pytest.raises(PermissionError):
        holder.open_and_unlink(str(tmp_path))


def test_a_link_in_place_of_our_directory_is_not_followed(tmp_path: Path) -> None:
    """What the link points to stays untouched."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / holder.FALLBACK_DIRECTORY).symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"symbolic|directory"):
        holder.open_and_unlink(str(tmp_path))
    assert list(elsewhere.iterdir()) == []


def test_a_place_that_cannot_be_held_is_refused_with_a_remedy(tmp_path: Path) -> None:
    """Missing directories and filesystems in memory are named."""
    with pytest.raises(PlaceError, match=r"no such directory: .*missing; create"):
        check_place(str(tmp_path / "missing"))
    in_memory = "/dev/shm"  # noqa: S108  # nothing is written there
    if free.filesystem(in_memory) == "tmpfs":
        with pytest.raises(PlaceError, match=r"tmpfs, which is memory.* --allow tmpfs"):
            check_place(in_memory)
        with pytest.raises(PlaceError, match="memory"):
            check_place(in_memory, frozenset({"overlay", "nfs4", ""}))
        assert check_place(in_memory, frozenset({"overlay", "tmpfs"})) == os.path.realpath(
            in_memory
        )


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("tmpfs", "memory"),
        ("nfs4", "remote"),
        ("fuse.sshfs", "user-space"),
        ("fuseblk", "user-space"),
        ("overlay", "layer"),
        ("ext4", ""),
        ("unknown", ""),
    ],
)
def test_a_type_is_refused_by_what_it_is(kind: str, word: str) -> None:
    """Local disks are not, nor what cannot be told (on Windows)."""
    why = place._refusal(kind)
    assert word in why
    assert bool(why) is bool(word)


def test_a_filesystem_without_free_inodes_is_told_from_a_full_one(tmp_path: Path) -> None:
    """A small ext4 with 16 inodes and free space: by inodes, before any floor of space."""
    if os.geteuid() != 0:
        pytest.skip("mounting a loop device needs root")
    try:
        with ext4(tmp_path, size_mb=8, options=("-N", "16")) as mount:
            free.disk_room(str(mount))
            with contextlib.suppress(OSError):  # ENOSPC, for want of an inode
                for number in range(16):
                    (mount / str(number)).touch()
            with pytest.raises(free.InodesError, match="0 of 16 inodes"):
                free.disk_room(str(mount))
    except subprocess.CalledProcessError as exc:
        pytest.skip(f"cannot mount a loop device: {exc}")


def test_the_floors_leave_what_they_say(tmp_path: Path) -> None:
    """Room is what an unprivileged writer can take, less a tenth of the filesystem or 2 GiB."""
    fs = os.statvfs(tmp_path)
    size, available = fs.f_blocks * fs.f_frsize, fs.f_bavail * fs.f_frsize
    expected = available - max(size / 10, 2 << 30)
    # Others write to the same filesystem meanwhile.
    assert free.disk_room(str(tmp_path)) == pytest.approx(expected, abs=1 << 30)


def test_the_board_carries_orders_and_answers() -> None:
    """An order is outstanding until it is answered, by its number."""
    board = Board(2, 0.0)
    assert board.order(1) is None
    board.command(1, 7.0)
    assert board.order(0) is None
    assert board.order(1) == (1.0, 7.0)
    board.answer(1, 1.0, 6.0, 12)
    assert board.order(1) is None
    assert board.held(1) == (6.0, 12)


def test_a_worker_begins_only_when_it_is_armed_and_let_go() -> None:
    """Both marks are of one worker, and are taken back for the one that replaces it."""
    board = Board(2, 0.0)
    assert not board.armed(1)
    assert not board.may_go(1)
    board.arm(1)
    board.let_go(1)
    assert (board.armed(0), board.armed(1)) == (False, True)
    assert (board.may_go(0), board.may_go(1)) == (False, True)
    board.enlist(1)
    assert not board.armed(1)
    assert not board.may_go(1)
