"""What every Sensors must do, on the model host and on this machine; and how procfs is parsed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.adapters.cgroups import parse_cpu_list
from optimizer.adapters.memory_sensor import parse_meminfo, portable_memory
from optimizer.adapters.sensors import (
    HostSensors,
    parse_stat,
    portable_cpu,
)
from optimizer.counters import (
    CpuCounters,
    DiskCounters,
    HostReading,
    MemoryBound,
    MemoryCounters,
    Place,
)
from optimizer.ports import Sensors
from tests.fakes import FakeHost

PROC = Path(__file__).parent.parent / "unit/data/proc"
KIB = 1024
SLACK_BYTES = 256 * 2**20  # what others may take or free while three readings are made
SLACK_S = 0.1  # CPU counters are summed up CPU by CPU, in ticks of 10 ms
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads procfs")


class Open(Protocol):
    """Makes sensors of this machine that are closed when the test ends."""

    def __call__(
        self,
        *disk_mounts: Path,
        proc: Path = ...,
        sysfs: Path = ...,
        host: Path | None = None,
    ) -> HostSensors:
        """The sensors, reading these mount points."""


@pytest.fixture
def host() -> Iterator[Open]:
    """How to make sensors of this machine."""
    with ExitStack() as stack:

        def make(
            *disk_mounts: Path,
            proc: Path = Path("/proc"),
            sysfs: Path = Path("/sys"),
            host: Path | None = None,
        ) -> HostSensors:
            places = [Place(str(mount), str(mount)) for mount in disk_mounts]
            sensors = HostSensors(places, proc=proc, host=host, sysfs=sysfs)
            return stack.enter_context(closing(sensors))

        yield make


@pytest.fixture(params=["model host", "this machine"])
def sensors(request: pytest.FixtureRequest, host: Open, tmp_path: Path) -> Sensors:
    """Each implementation of the port in turn; the real one with one disk."""
    return FakeHost() if request.param == "model host" else host(tmp_path)


def whole(reading: HostReading) -> tuple[CpuCounters, MemoryCounters, tuple[DiskCounters, ...]]:
    """The counters of a reading in which no sensor failed."""
    assert reading.failures == ()
    assert reading.cpu is not None
    assert reading.memory is not None
    assert reading.disks is not None
    return reading.cpu, reading.memory, reading.disks


def test_counters_and_times_do_not_go_back(sensors: Sensors) -> None:
    """Of two readings the second is not earlier in anything that only grows."""
    first, second = sensors.read(), sensors.read()
    before, after = whole(first)[0], whole(second)[0]
    assert second.monotonic_s >= first.monotonic_s
    assert after.total_s >= before.total_s - SLACK_S  # iowait may run back by a tick
    assert after.steal_s >= before.steal_s


def test_parts_are_not_larger_than_the_whole(sensors: Sensors) -> None:
    """Idle and steal within total, available, free and cache within memory, all at least 0."""
    cpu, memory, disks = whole(sensors.read())
    assert 0 <= cpu.idle_s <= cpu.total_s
    assert 0 <= cpu.steal_s <= cpu.total_s - cpu.idle_s
    assert cpu.cpus >= 1
    assert 0 <= memory.available_bytes <= memory.total_bytes
    assert 0 <= memory.free_bytes + memory.cache_bytes <= memory.total_bytes
    assert len(disks) == 1
    assert disks[0].used_bytes >= 0
    assert disks[0].available_bytes >= 0
    assert disks[0].used_bytes + disks[0].available_bytes > 0


def test_without_disks_the_tuple_is_empty_and_nothing_failed(host: Open) -> None:
    """No disk to read is not a failure: empty, on the model host and on this machine."""
    for reading in (FakeHost(has_disk=False).read(), host().read()):
        assert reading.disks == ()
        assert reading.failures == ()


def test_a_failing_disk_is_missing_and_named(host: Open, tmp_path: Path) -> None:
    """The only filesystem is gone, so the disks are unknown; the other sensors go on."""
    gone = tmp_path / "gone"
    for reading in (
        FakeHost(failing=frozenset({"disk"})).read(),
        host(gone).read(),
    ):
        assert reading.disks is None
        assert reading.cpu is not None
        assert reading.memory is not None
        assert [name for name, _ in reading.failures] == ["disk"]
    assert str(gone) in host(gone).read().failures[0][1]


def test_a_failing_disk_does_not_take_the_others_with_it(host: Open, tmp_path: Path) -> None:
    """Of two filesystems one is gone: it is named, the other is read."""
    reading = host(tmp_path, tmp_path / "gone").read()
    assert reading.disks is not None
    assert [disk.place.mount for disk in reading.disks] == [str(tmp_path)]
    assert [name for name, _ in reading.failures] == ["disk"]


# --- this machine against psutil -----------------------------------------------


def psutil_cpu() -> tuple[float, float]:
    """Total and idle seconds as psutil counts them, guest time once."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    total_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    if sys.platform == "win32":
        total_s -= times.interrupt + times.dpc
    return total_s, idle_s


def test_cpu_agrees_with_psutil(host: Open) -> None:
    """Our counters lie between what psutil reads just before and just after."""
    before = psutil_cpu()
    reading = host().read()
    after = psutil_cpu()
    cpu = whole(reading)[0]
    assert before[0] - SLACK_S <= cpu.total_s <= after[0] + SLACK_S
    assert before[1] - SLACK_S <= cpu.idle_s <= after[1] + SLACK_S
    assert cpu.cpus == psutil.cpu_count()


def test_memory_agrees_with_psutil(host: Open) -> None:
    """Total is the same; available and free lie between a reading before and one after."""
    before = psutil.virtual_memory()
    memory = whole(host().read())[1]
    after = psutil.virtual_memory()
    assert memory.total_bytes == before.total
    for ours, *theirs in (
        (memory.available_bytes, before.available, after.available),
        (memory.free_bytes, before.free, after.free),
    ):
        assert min(theirs) - SLACK_BYTES <= ours <= max(theirs) + SLACK_BYTES


def test_disk_agrees_with_psutil(host: Open, tmp_path: Path) -> None:
    """Used and available are those of psutil, whose percentage is that of df."""
    before = psutil.disk_usage(str(tmp_path))
    disk = whole(host(tmp_path).read())[2][0]
    after = psutil.disk_usage(str(tmp_path))
    assert disk.place.mount == str(tmp_path)
    for ours, *theirs in (
        (disk.used_bytes, before.used, after.used),
        (disk.available_bytes, before.free, after.free),
    ):
        assert min(theirs) - SLACK_BYTES <= ours <= max(theirs) + SLACK_BYTES


def test_the_readers_of_other_platforms_agree_with_psutil_too() -> None:
    """What macOS and Windows use works wherever psutil does."""
    cpu, memory = portable_cpu(), portable_memory()
    assert 0 < cpu.idle_s <= cpu.total_s
    assert (cpu.steal_s, cpu.cpus) == (0.0, psutil.cpu_count())
    assert not cpu.watchable  # stressers can look at /proc/stat only
    assert memory.total_bytes == psutil.virtual_memory().total
    assert 0 <= memory.free_bytes + memory.cache_bytes <= memory.total_bytes


def test_the_time_of_a_reading_lies_within_the_call(host: Open) -> None:
    """Both times are taken while the counters are read."""
    before = time.monotonic()
    reading = host().read()
    assert before <= reading.monotonic_s <= time.monotonic()
    assert abs(time.time() - reading.utc_s) < 60  # the same clock, whatever the load


# --- a procfs that misbehaves ----------------------------------------------------


@linux_only
def test_missing_procfs_files_are_missing_values(host: Open, tmp_path: Path) -> None:
    """Without its file a sensor is None and the message names the path."""
    reading = host(proc=tmp_path).read()
    assert (reading.cpu, reading.memory) == (None, None)
    failures = dict(reading.failures)
    assert str(tmp_path / "stat") in failures["cpu"]
    assert str(tmp_path / "meminfo") in failures["memory"]


@linux_only
def test_the_hosts_proc_is_read_where_it_is_mounted(host: Open, tmp_path: Path) -> None:
    """HOST_PROC: CPU and memory come from there, our own groups and mounts from our own /proc."""
    (tmp_path / "stat").write_bytes(b"cpu  1 0 0 9\ncpu0 1 0 0 9\n")
    (tmp_path / "meminfo").write_bytes(Path("/proc/meminfo").read_bytes())
    reading = host(host=tmp_path).read()
    assert reading.cpu is not None
    assert reading.cpu.total_s == pytest.approx(10 / os.sysconf("SC_CLK_TCK"))
    assert reading.memory is not None
    assert reading.memory.stalled_s is None  # no pressure is told there


def test_a_sensor_recovers_when_its_file_comes_back(host: Open, tmp_path: Path) -> None:
    """Nothing of a failure lasts; and a file that went stale is opened anew."""
    if sys.platform != "linux":
        pytest.skip("reads procfs")
    sensors = host(proc=tmp_path)
    stat = tmp_path / "stat"
    assert sensors.read().cpu is None
    stat.write_bytes(b"cpu  1 0 0 9\n")
    assert sensors.read().cpu is not None
    # The open file becomes empty, as one of a restarted FUSE server does, and a new one appears.
    (tmp_path / "new").write_bytes(b"cpu  2 0 0 18\n")
    os.truncate(stat, 0)
    os.replace(tmp_path / "new", stat)
    cpu = sensors.read().cpu
    assert cpu is not None
    assert cpu.total_s == pytest.approx(20 / os.sysconf("SC_CLK_TCK"))


@linux_only
def test_garbage_in_procfs_is_a_failure(host: Open, tmp_path: Path) -> None:
    """Text that makes no sense gives no value and no exception."""
    (tmp_path / "stat").write_bytes(b"cpu  nonsense\n")
    (tmp_path / "meminfo").write_bytes(b"\x00\xff")
    reading = host(proc=tmp_path).read()
    assert (reading.cpu, reading.memory) == (None, None)
    assert {name for name, _ in reading.failures} == {"cpu", "memory"}


@linux_only
def test_online_cpus_are_counted_from_the_kernels_list(host: Open, tmp_path: Path) -> None:
    """The list in sysfs counts; without it the number that the standard library knows."""
    online = tmp_path / "devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_bytes(b"0-3,8\n")
    with_list = host(sysfs=tmp_path).read().cpu
    without = host(sysfs=tmp_path / "nothing").read().cpu
    assert with_list is not None
    assert without is not None
    assert (with_list.cpus, without.cpus) == (5, os.cpu_count())


@linux_only
def test_a_path_that_leads_to_another_device_is_a_failure(host: Open, tmp_path: Path) -> None:
    """After an unmount the path shows the parent's filesystem: no figures are better than those."""
    path = tmp_path / "mount"
    path.symlink_to(tmp_path)
    sensors = host(path)
    assert sensors.read().disks is not None
    path.unlink()
    path.symlink_to("/proc")  # another device than any directory for temporary files
    reading = sensors.read()
    assert reading.disks is None
    assert f"{path} is not the filesystem that was chosen" in dict(reading.failures)["disk"]
    path.unlink()
    path.symlink_to(tmp_path)
    assert sensors.read().disks is not None


def test_other_disks_can_be_watched(host: Open, tmp_path: Path) -> None:
    """After watch() the new mount points are read, in the order given."""
    (tmp_path / "b").mkdir()
    sensors = host(tmp_path / "gone")
    assert sensors.read().disks is None
    sensors.disks.watch([Place(mount, mount) for mount in (str(tmp_path / "b"), str(tmp_path))])
    _, _, disks = whole(sensors.read())
    assert [disk.place.mount for disk in disks] == [str(tmp_path / "b"), str(tmp_path)]


def _bounds(sensors: HostSensors) -> tuple[MemoryBound, ...]:
    """The limits on the groups that this test runs in; two files are open for each."""
    memory = sensors.read().memory
    return () if memory is None else memory.bounds


def test_reading_keeps_no_more_than_three_files_open() -> None:
    """A thousand readings open stat, meminfo and pressure once, and close lets them go."""
    if sys.platform != "linux":
        pytest.skip("reads procfs")
    process = psutil.Process()
    before = process.num_fds()
    swap = Path("/proc/swaps").read_text(encoding="ascii").count("\n") > 1
    kept = 2 + Path("/proc/pressure/memory").exists() + swap
    with closing(HostSensors([Place("/", "/")])) as sensors:
        for _ in range(1000):
            sensors.read()
        limited = sum(counters.limit_bytes > 0 for counters in _bounds(sensors))
        assert process.num_fds() == before + kept + 2 * limited
    assert process.num_fds() == before


# --- parsing -------------------------------------------------------------------


def test_guest_time_is_counted_once() -> None:
    """All but guest and guest_nice add up; idle takes in iowait."""
    cpu = parse_stat((PROC / "stat-6.18").read_bytes(), ticks_per_s=100, cpus=2)
    # 9612 + 12 + 3206 + 376926 + 619 + 3 + 49 + 47 = 390474; 376926 + 619 = 377545
    assert cpu == CpuCounters(total_s=3904.74, idle_s=3775.45, steal_s=0.47, cpus=2)


def test_an_old_kernel_has_four_fields() -> None:
    """User, nice, system and idle are enough: 1000 + 20 + 300 + 8680 = 10000."""
    cpu = parse_stat((PROC / "stat-2.4").read_bytes(), ticks_per_s=100, cpus=1)
    assert cpu == CpuCounters(total_s=100.0, idle_s=86.8, steal_s=0.0, cpus=1)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"cpu0 1 2 3 4 5 6 7 8\n",
        b"cpu  1 2 3\n",
        b"cpu  1 2 3 4 5 6 7 8",  # cut off: the last number may be half of one
        b"cpu  1 2 3 -4 5 6 7 8\n",
        b"cpu  1 2 3 4.5 6 7 8\n",
        b"cpu  1 2 3 nan 6 7 8\n",
        b"intr 1\ncpu  1 2 3 4 5 6 7 8\n",
    ],
)
def test_a_broken_first_line_is_refused(text: bytes) -> None:
    """Anything but a whole line of counters raises."""
    with pytest.raises(ValueError, match="/proc/stat"):
        parse_stat(text, ticks_per_s=100, cpus=1)


def test_memory_is_taken_from_the_kernels_own_figures() -> None:
    """MemAvailable as it stands; the cache without shared memory."""
    memory = parse_meminfo((PROC / "meminfo-6.18").read_bytes())
    assert memory == MemoryCounters(
        total_bytes=24684084 * KIB,
        available_bytes=22297468 * KIB,
        free_bytes=20278276 * KIB,
        cache_bytes=2183448 * KIB,  # 104028 + 1956072 + 132220 - 8872
    )


def test_a_kernel_without_available_memory_gets_free_and_cache() -> None:
    """Before 3.14: 914168 + (100000 + 800000 + 100000 - 50000) = 1864168 kB."""
    memory = parse_meminfo((PROC / "meminfo-2.6.32").read_bytes())
    assert memory.available_bytes == 1864168 * KIB


def test_more_available_than_there_is_means_the_free_memory() -> None:
    """A container that shows its own total with the host's MemAvailable."""
    memory = parse_meminfo((PROC / "meminfo-container").read_bytes())
    assert memory.available_bytes == memory.free_bytes == 1572864 * KIB


@pytest.mark.parametrize("name", [b"MemTotal", b"MemFree", b"Buffers", b"Cached"])
def test_a_missing_figure_is_named(name: bytes) -> None:
    """What cannot be done without raises, with the name of what is missing."""
    text = (PROC / "meminfo-6.18").read_bytes().replace(name + b":", b"Other:")
    with pytest.raises(ValueError, match=name.decode()):
        parse_meminfo(text)


def test_more_free_than_total_is_refused() -> None:
    """A contradiction is not a reading."""
    text = b"MemTotal: 10 kB\nMemFree: 11 kB\nBuffers: 0 kB\nCached: 0 kB\n"
    with pytest.raises(ValueError, match="contradicts"):
        parse_meminfo(text)


@pytest.mark.parametrize(
    ("text", "count"), [(b"0\n", 1), (b"0-1\n", 2), (b"0-3,8", 5), (b"1,3-4,127-255\n", 132)]
)
def test_a_list_of_cpus_is_counted(text: bytes, count: int) -> None:
    """Single numbers and ranges, both ends included."""
    assert parse_cpu_list(text) == count


@pytest.mark.parametrize("text", [b"", b"\n", b"a", b"0-", b"-1", b"0,,1", b"3-1", b"0-3,8 9"])
def test_what_is_no_list_of_cpus_is_refused(text: bytes) -> None:
    """No list means no number, least of all 0."""
    with pytest.raises(ValueError, match="list of CPUs"):
        parse_cpu_list(text)


def mutated(path: Path) -> st.SearchStrategy[bytes]:
    """The text of a file with a piece of it replaced by other bytes, or cut off."""
    text = path.read_bytes()
    place = st.integers(0, len(text))
    numberlike = st.text("0123456789 -\n:kBcpu").map(str.encode)
    return st.tuples(place, place, st.binary(max_size=40) | numberlike).map(
        lambda cut: text[: min(cut[:2])] + cut[2] + text[max(cut[:2]) :]
    ) | place.map(lambda end: text[:end])


def value_or_error(parse: Callable[[], object]) -> bool:
    """Whether the parser accepted its text; anything but ValueError goes through."""
    try:
        parse()
    except ValueError:
        return False
    return True


@settings(deadline=None)
@given(st.binary(max_size=300) | mutated(PROC / "stat-6.18"))
def test_whatever_stands_in_stat_gives_sane_counters_or_an_error(text: bytes) -> None:
    """Fuzzed: no text makes a negative counter, or parts above the whole."""
    try:
        cpu = parse_stat(text, ticks_per_s=100, cpus=2)
    except ValueError:
        return
    assert 0 <= cpu.idle_s <= cpu.total_s
    assert 0 <= cpu.steal_s <= cpu.total_s
    assert text.startswith(b"cpu ")


@settings(deadline=None)
@given(st.binary(max_size=300) | mutated(PROC / "meminfo-6.18"))
def test_whatever_stands_in_meminfo_gives_sane_counters_or_an_error(text: bytes) -> None:
    """Fuzzed: no text makes available, free or cached memory exceed the total."""
    try:
        memory = parse_meminfo(text)
    except ValueError:
        return
    assert memory.total_bytes > 0
    assert 0 <= memory.available_bytes <= memory.total_bytes
    assert 0 <= memory.free_bytes + memory.cache_bytes <= memory.total_bytes


@settings(deadline=None)
@given(st.binary(max_size=40) | st.text("0123456789,-\n", max_size=12).map(str.encode))
def test_whatever_stands_in_a_cpu_list_gives_at_least_one_cpu_or_an_error(text: bytes) -> None:
    """Fuzzed: a list that is accepted names a CPU."""
    if value_or_error(lambda: parse_cpu_list(text)):
        assert parse_cpu_list(text) >= 1
