"""`optimizer release PATH`: what an administrator wants to do to a filesystem succeeds at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.holding import GIB, Holder, holder
from tests.loopdev import ONE_KIND, Volume, volume

pytestmark = [
    pytest.mark.disks,
    pytest.mark.skipif(sys.platform != "linux", reason="loop devices and /proc"),
]

LEAST_BYTES = GIB


@pytest.fixture(scope="module", params=ONE_KIND)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Holder]:
    """A daemon on a filesystem of 4 GiB, for all tests; it ends in good order after them."""
    folder = tmp_path_factory.mktemp("release")
    with (
        volume(request.param, folder, size_mb=4096) as disk,
        holder(folder / "work", disk) as made,
    ):
        yield made
        assert made.rig.stop() == 0


@pytest.fixture
def held(shared: Holder) -> Holder:
    """A daemon that holds of the filesystem."""
    shared.holds(LEAST_BYTES)
    return shared


def release(held: Holder, *words: str) -> Volume:
    """Have the filesystem let go; it is when the command has ended."""
    assert held.disk.try_detach() is not None, "it can be unmounted while it is held"
    done = held.rig.command("release", str(held.disk.mount), *words)
    assert done.returncode == 0, done.stderr
    return held.disk


def test_after_release_it_can_be_unmounted_until_resumed(held: Holder) -> None:
    """Unmounted in the first attempt; mounted again, it is held only after `resume`."""
    disk = release(held)
    assert disk.try_detach() is None
    held.cycles()
    disk.attach()
    held.look()
    held.cycles(3)
    assert held.held_bytes() == 0
    assert held.rig.command("resume").returncode == 0
    held.holds(LEAST_BYTES)


def test_after_release_it_can_be_made_read_only_and_frozen(held: Holder) -> None:
    """Remounted in the first attempt; a freeze meets nobody who writes; then held again."""
    disk = release(held, "--for", "1h")
    assert disk.remount("ro") is None
    assert disk.remount("rw") is None
    disk.freeze()
    held.cycles(3)
    disk.thaw()
    assert held.held_bytes() == 0
    assert held.rig.command("resume").returncode == 0
    held.holds(LEAST_BYTES)


def test_release_of_what_is_no_filesystem_of_ours_is_said(held: Holder) -> None:
    """A path that does not exist: exit code above 0, a message with it; what is held stays."""
    nothing = str(held.disk.mount / "nothing")
    done = held.rig.command("release", nothing)
    assert done.returncode != 0
    assert nothing in done.stderr
    assert held.held_bytes() >= LEAST_BYTES
