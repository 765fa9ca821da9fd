"""What the stressers ask of Windows, on a pretended kernel32: numbers, floors, and refusals."""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path

import pytest

from stressers import free, group, holder, windows, worker
from stressers.blocks import BLOCK, UNIT, Blocks
from stressers.committed import CommittedBlock
from stressers.threaded import lease_alarm
from stressers.windows import Windows
from tests.windows_calls import INVALID_HANDLE, FakeKernel32

GIB, MIB = 1 << 30, 1 << 20
COMMIT, DECOMMIT, RELEASE = 0x1000, 0x4000, 0x8000


@pytest.fixture
def kernel32() -> FakeKernel32:
    """A host of 16 GiB and 20 GiB of commit limit."""
    return FakeKernel32()


@pytest.fixture
def calls(kernel32: FakeKernel32) -> Windows:
    """The calls, made to it."""
    return Windows(kernel32, kernel32.last_error)


def room(calls: Windows) -> free.MemoryRoom:
    """What may be taken outside of any control group."""
    return free.MemoryRoom(group.Limits([], unified=True), lambda: free.windows_memory(calls))


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        # 5 % of 16 GiB are more than 512 MiB, and stay free; the commit limit is far.
        ((16 * GIB, 4 * GIB, 64 * GIB, 60 * GIB), 4 * GIB - int(0.05 * 16 * GIB)),
        # 5 % of 20 GiB of commit stay free: memory is free, but nobody could take it.
        ((16 * GIB, 12 * GIB, 20 * GIB, 3 * GIB), 2 * GIB),
        # 512 MiB are more than 5 % of 4 GiB.
        ((4 * GIB, 3 * GIB, 4 * GIB, 1 * GIB), 512 * MIB),
        # Below the floor already: what lacks is given back.
        ((4 * GIB, 3 * GIB, 4 * GIB, 0), -512 * MIB),
    ],
)
def test_memory_keeps_the_floor_of_the_commit_limit_too(
    kernel32: FakeKernel32, calls: Windows, memory: tuple[int, int, int, int], expected: int
) -> None:
    """The smaller of what memory and commit limit leave above max(5 %, 512 MiB)."""
    kernel32.memory = memory
    assert room(calls)() == expected


def test_memory_that_cannot_be_read_is_unknown(kernel32: FakeKernel32, calls: Windows) -> None:
    """No number comes of it: nothing is taken, and the message names what failed."""
    kernel32.failing["GlobalMemoryStatusEx"] = 5
    with pytest.raises(free.UnknownFreeError, match=r"commit limit .*Windows error 5"):
        room(calls)()


def test_a_disk_keeps_its_floor_of_what_the_caller_may_take(
    kernel32: FakeKernel32, calls: Windows
) -> None:
    """10 % of 100 GiB stay free; a failure is no number."""
    assert free.windows_disk_room(calls, "D:\\data") == 30 * GIB
    kernel32.disk = (4 * GIB, 3 * GIB)
    assert free.windows_disk_room(calls, "D:\\data") == GIB
    kernel32.failing["GetDiskFreeSpaceExW"] = 5
    with pytest.raises(PermissionError):
        free.windows_disk_room(calls, "D:\\data")


def test_cpu_load_goes_into_the_idle_priority_class(kernel32: FakeKernel32, calls: Windows) -> None:
    """IDLE_PRIORITY_CLASS of this process, not background mode; a refusal is told."""
    assert calls.idle()
    assert kernel32.named("SetPriorityClass") == [(ctypes.c_void_p(-1).value, 0x40)]
    kernel32.failing["SetPriorityClass"] = 5
    assert not calls.idle()


def blocks_of(calls: Windows, touched: list[tuple[int, int, int]]) -> Blocks:
    """Memory of a shard whose touches are written down."""
    return Blocks(make=lambda: CommittedBlock(calls, BLOCK, lambda *place: touched.append(place)))


def test_memory_is_committed_in_steps_and_touched(kernel32: FakeKernel32, calls: Windows) -> None:
    """Reserved whole, committed and set to zero as far as it is filled, given back exactly."""
    touched: list[tuple[int, int, int]] = []
    blocks = blocks_of(calls, touched)
    assert blocks.resize(BLOCK + 3 * UNIT) == 0
    assert sorted(kernel32.committed.values()) == [3 * UNIT, BLOCK]
    assert [size for _, _, size in touched] == [BLOCK, 3 * UNIT]
    assert all(value == 0 for _, value, _ in touched)
    first, second = kernel32.committed
    assert [address for address, _, _ in touched] == [first, second]
    assert blocks.resize(BLOCK + UNIT) == 0
    assert sorted(kernel32.committed.values()) == [UNIT, BLOCK]
    assert (second + UNIT, 2 * UNIT, DECOMMIT) in kernel32.named("VirtualFree")
    assert blocks.resize(BLOCK + 2 * UNIT) == 0
    assert touched[-1] == (second + UNIT, 0, UNIT)
    assert blocks.resize(0) == 0
    assert kernel32.committed == {}


def test_memory_beyond_the_commit_limit_is_refused(kernel32: FakeKernel32, calls: Windows) -> None:
    """The errno for no memory; nothing is touched that was not committed, nothing is counted."""
    touched: list[tuple[int, int, int]] = []
    blocks = blocks_of(calls, touched)
    blocks.resize(UNIT)
    kernel32.failing["VirtualAlloc"] = 1455
    assert blocks.resize(2 * UNIT) == errno.ENOMEM
    assert blocks.held == UNIT
    assert len(touched) == 1
    assert blocks.resize(0) == 0


def test_memory_that_cannot_be_given_back_in_part_goes_whole(
    kernel32: FakeKernel32, calls: Windows
) -> None:
    """Never more is held than wanted, whatever the kernel denies."""
    blocks = blocks_of(calls, [])
    blocks.resize(4 * UNIT)
    kernel32.failing["VirtualFree"] = 87
    block = blocks._blocks[-1]
    assert not block.shrink(UNIT)
    assert block.filled == 4 * UNIT
    del kernel32.failing["VirtualFree"]
    blocks.resize(0)
    assert kernel32.committed == {}


def test_a_file_goes_with_its_last_handle_and_nobody_else_opens_it(
    kernel32: FakeKernel32, calls: Windows
) -> None:
    """DELETE_ON_CLOSE, no sharing, made new, not indexed, not compressed."""
    handle = calls.create("D:\\data\\held.tmp")
    ((path, access, share, _, disposition, flags, _),) = kernel32.named("CreateFileW")
    assert (path, share, disposition) == ("D:\\data\\held.tmp", 0, 1)
    assert access & 0x00010000  # DELETE, without which the flag is refused
    assert flags & 0x04000000  # FILE_FLAG_DELETE_ON_CLOSE
    assert flags & 0x2000  # FILE_ATTRIBUTE_NOT_CONTENT_INDEXED
    ((asked, code, *_),) = kernel32.named("DeviceIoControl")
    assert (asked, code) == (handle, 0x9C040)


def test_a_file_that_cannot_be_made_is_an_error(kernel32: FakeKernel32, calls: Windows) -> None:
    """INVALID_HANDLE_VALUE is no handle."""
    kernel32.failing["CreateFileW"] = 5
    with pytest.raises(PermissionError):
        calls.create("D:\\data\\held.tmp")
    assert INVALID_HANDLE not in kernel32.allocated


def test_space_is_reserved_without_moving_the_end(kernel32: FakeKernel32, calls: Windows) -> None:
    """FileAllocationInfo alone, growing and shrinking; nothing is written."""
    handle = calls.create("held.tmp")
    holder.set_space(calls, handle, 0, 8 * MIB)
    assert kernel32.allocated[handle] == 8 * MIB
    calls.allocate(handle, MIB)
    assert calls.allocated(handle) == MIB
    assert [size for _, size in kernel32.named("SetFileInformationByHandle")] == [8 * MIB, MIB]


def test_a_filesystem_that_only_says_so_reserves_nothing(
    kernel32: FakeKernel32, calls: Windows
) -> None:
    """Compressed or pretended space is not held: it is given back and named."""
    handle = calls.create("held.tmp")
    holder.set_space(calls, handle, 0, MIB)
    kernel32.keeps = 0.5
    with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)) as caught:
        holder.set_space(calls, handle, MIB, 8 * MIB)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert kernel32.named("SetFileInformationByHandle")[-1] == (handle, MIB)


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (112, errno.ENOSPC),
        (39, errno.ENOSPC),
        (1295, errno.EDQUOT),
        (19, errno.EROFS),
        (120, errno.EOPNOTSUPP),
        (50, errno.EOPNOTSUPP),
        (31, errno.EIO),
    ],
)
def test_a_refusal_has_the_errno_of_other_platforms(
    kernel32: FakeKernel32, calls: Windows, code: int, number: int
) -> None:
    """Full, quota, read-only and not supported are told apart; the rest is an I/O error."""
    handle = calls.create("held.tmp")
    kernel32.failing["SetFileInformationByHandle"] = code
    with pytest.raises(OSError, match=f"Windows error {code}") as caught:
        holder.set_space(calls, handle, 0, MIB)
    assert caught.value.errno == number


def test_only_empty_files_with_our_name_are_swept(tmp_path: Path) -> None:
    """What a power loss left goes; a file with data, another name, a link or a folder stays."""
    ours = "cloud-resource-optimizer-0123456789abcdef.tmp"
    (tmp_path / ours).touch()
    kept = {
        "cloud-resource-optimizer-1123456789abcdef.tmp": "data",
        "cloud-resource-optimizer-0123.tmp": "",
        "temp_1.dat": "",
    }
    for name, text in kept.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "cloud-resource-optimizer-2123456789abcdef.tmp").mkdir()
    assert holder.sweep(str(tmp_path)) == [ours]
    assert {path.name for path in tmp_path.iterdir()} == {
        *kept,
        "cloud-resource-optimizer-2123456789abcdef.tmp",
    }
    assert holder.sweep(str(tmp_path / "missing")) == []


def test_the_lease_is_timed_without_the_interpreter(kernel32: FakeKernel32, calls: Windows) -> None:
    """A timer that ends this process once, set anew by each renewal, at once for a past lease."""
    renew, alarm = lease_alarm(10.0, calls)
    assert alarm
    ((queue, function, process, due_ms, period, _),) = kernel32.named("CreateTimerQueueTimer")
    ends = ctypes.cast(kernel32.TerminateProcess, ctypes.c_void_p).value
    assert (queue, function, process) == (None, ends, ctypes.c_void_p(-1).value)
    assert (due_ms, period) == (10_000, 0)
    renew(3.0)
    renew(-1.0)
    renew(1e9)
    changed = kernel32.named("ChangeTimerQueueTimer")
    assert [(due, period) for _, _, due, period in changed] == [
        (3000, 0),
        (1, 0),
        (0x7FFFFFFF, 0),
    ]
    assert len({timer for _, timer, _, _ in changed}) == 1


def test_a_lease_that_cannot_be_renewed_runs_out(kernel32: FakeKernel32, calls: Windows) -> None:
    """The timer stays as it was set, and nothing is raised into the loop."""
    renew, _ = lease_alarm(10.0, calls)
    kernel32.failing["ChangeTimerQueueTimer"] = 6
    renew(3.0)
    assert len(kernel32.named("CreateTimerQueueTimer")) == 1


@pytest.mark.parametrize(
    ("failing", "parents_start", "armed", "left"),
    [
        ({}, 5, True, []),
        ({}, 10, True, []),  # as old as we are, to the tick of the clock
        ({}, 11, True, [0]),  # began after us: the parent's pid is another's now
        ({"OpenProcess": 87}, 5, True, [0]),  # there is no such process any more
        ({"OpenProcess": 5}, 5, False, []),
        ({"RegisterWaitForSingleObject": 8}, 5, False, []),
        ({"GetProcessTimes": 5}, 5, False, []),
    ],
)
def test_a_stresser_ends_with_its_parent(
    kernel32: FakeKernel32,
    calls: Windows,
    failing: dict[str, int],
    parents_start: int,
    armed: bool,
    left: list[int],
) -> None:
    """By a wait on the parent; at once when it has gone; named as missing where denied."""
    kernel32.failing = failing
    kernel32.began = {4242: parents_start, ctypes.c_void_p(-1).value: 10}
    exits: list[int] = []
    assert worker.end_with(calls, 4242, exits.append) is armed
    assert exits == left
    waits = kernel32.named("RegisterWaitForSingleObject")
    if armed and not left:
        ((handle, function, process, timeout_ms, flags),) = waits
        ends = ctypes.cast(kernel32.TerminateProcess, ctypes.c_void_p).value
        assert (handle, function, process) == (4242, ends, ctypes.c_void_p(-1).value)
        assert timeout_ms == 0xFFFFFFFF
        assert flags & 0x8


def test_every_call_has_a_signature() -> None:
    """Without one ctypes cuts handles and addresses to 32 bits."""
    source = Path(windows.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"self\._kernel32\.(\w+)", source)) == set(windows.SIGNATURES)
