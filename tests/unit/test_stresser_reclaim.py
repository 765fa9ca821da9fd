"""Which way the kernel can take our memory back, read from texts and folders of the test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stressers import kernel, memory, reclaim

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")

NEW, OLD = (6, 12), (5, 15)
HEADING = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def row(name: str) -> str:
    """A line of /proc/swaps as the kernel writes it."""
    return f"{name}                               partition\t1048572\t\t0\t\t-2\n"


class Host:
    """Files that a kernel would offer: swaps, and the switches of huge pages."""

    def __init__(self, folder: Path) -> None:
        self._huge = folder / "transparent_hugepage"
        (self._huge / "khugepaged").mkdir(parents=True)
        self._swaps = folder / "swaps"
        self.swaps()
        self.huge("enabled", "always [madvise] never")
        self.huge("shrink_underused", "1")
        self.huge("khugepaged/max_ptes_none", "511")

    def swaps(self, *names: str) -> None:
        """Swap on these devices."""
        self._swaps.write_text(HEADING + "".join(row(name) for name in names))

    def huge(self, name: str, text: str) -> None:
        """One switch of huge pages."""
        path = self._huge / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{text}\n")

    def ways(self, metric: str, version: tuple[int, int]) -> tuple[list[str], list[str]]:
        """Names in force, and what is missing."""
        found = reclaim.ways(metric, version=version, swaps=str(self._swaps), huge=str(self._huge))
        return kernel.named(found, kernel.take_all(found))

    def gets_huge_pages(self) -> bool:
        """See reclaim.huge_pages()."""
        return reclaim.huge_pages(str(self._huge))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """No swap, huge pages on request, the shrinker off by the kernel's default."""
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("6.18.44-fc", (6, 18)),
        ("6.12.3", (6, 12)),
        ("4.19", (4, 19)),
        ("5.10-rc1+", (5, 10)),
        ("6", (0, 0)),
        ("", (0, 0)),
        ("x.y", (0, 0)),
    ],
)
def test_a_release_is_compared_as_numbers(text: str, found: tuple[int, int]) -> None:
    """6.12 is newer than 6.9; what is no release is older than all."""
    assert reclaim.release(text) == found


def test_the_word_in_brackets_is_the_chosen_one() -> None:
    """Switches of the kernel show all words and mark one."""
    assert reclaim.chosen("always [madvise] never\n") == "madvise"
    assert reclaim.chosen("") == ""


@pytest.mark.parametrize("metric", ["nocache", "free"])
def test_memory_that_counts_as_free_is_taken_back_at_once(host: Host, metric: str) -> None:
    """MADV_FREE needs neither swap nor shrinker; where there is none the cost is named."""
    assert host.ways(metric, (4, 12)) == (["MADV_FREE"], [])
    have, lack = host.ways(metric, (4, 11))
    assert have == []
    assert lack[0].startswith("MADV_FREE: ")


def test_without_swap_and_shrinker_the_remedy_is_named(host: Host) -> None:
    """Only we give memory back: the remedy for the shrinker stands where this kernel has one."""
    have, (lack,) = host.ways("available", NEW)
    assert have == []
    assert lack.startswith("reclaim by the kernel: only this program gives memory back; add swap")
    assert "write 409 to" in lack
    assert lack.endswith("khugepaged/max_ptes_none")
    host.huge("shrink_underused", "0")
    assert host.ways("available", NEW)[1][0].endswith("shrink_underused")
    assert host.ways("available", OLD)[1][0].endswith("add swap")


@pytest.mark.parametrize(
    ("names", "version", "have"),
    [
        (("/dev/vdb",), NEW, ["swap without writing (zero pages)"]),
        (("/dev/zram0",), NEW, ["swap without writing (zero pages)"]),
        (("/dev/zram0",), OLD, ["swap to zram without storing (zero pages)"]),
        (("/dev/zram0", "/swap\\040file"), OLD, []),
    ],
)
def test_swap_is_a_way_where_zeros_are_not_written(
    host: Host, names: tuple[str, ...], version: tuple[int, int], have: list[str]
) -> None:
    """Since 6.12 on any swap, before on zram alone; else it is missing, for it would write."""
    host.swaps(*names)
    found, lack = host.ways("available", version)
    assert found == have
    assert [line.partition(":")[0] for line in lack] == ([] if have else ["swap without writing"])


def test_the_shrinker_is_a_way_where_it_may_look(host: Host) -> None:
    """It needs a lower max_ptes_none, its own switch, huge pages and the kernel that has it."""
    host.huge("khugepaged/max_ptes_none", "409")
    assert host.ways("available", NEW) == (["THP shrinker"], [])
    assert host.ways("available", OLD)[0] == []
    host.huge("shrink_underused", "0")
    assert host.ways("available", NEW)[0] == []
    host.huge("shrink_underused", "1")
    host.huge("enabled", "always madvise [never]")
    have, lack = host.ways("available", NEW)
    assert have == []
    assert lack[0].endswith("add swap")


@pytest.mark.parametrize(
    ("enabled", "own", "gets"),
    [
        ("[always] madvise never", None, True),
        ("always [madvise] never", "always [inherit] madvise never", True),
        ("always madvise [never]", None, False),
        ("always madvise [never]", "always [inherit] madvise never", False),
        ("always madvise [never]", "always inherit [madvise] never", True),
        ("[always] madvise never", "always inherit madvise [never]", False),
    ],
)
def test_huge_pages_are_offered_by_either_switch(
    host: Host, enabled: str, own: str | None, gets: bool
) -> None:
    """The switch of the size counts before the old one, unless it leaves it to that."""
    host.huge("enabled", enabled)
    if own is not None:
        host.huge("hugepages-2048kB/enabled", own)
    assert host.gets_huge_pages() is gets


def test_a_host_without_huge_pages_has_no_switches(tmp_path: Path) -> None:
    """A kernel built without them has no such folder."""
    assert not reclaim.huge_pages(str(tmp_path))


def test_the_means_follow_the_metric() -> None:
    """MADV_COLD for what may be swapped, MADV_FREE for what need not."""
    names = {metric: {mean.name for mean in memory.means(metric)} for metric in reclaim.METRICS}
    assert "MADV_COLD" in names["available"]
    assert "MADV_FREE" not in names["available"]
    assert "MADV_FREE" in names["nocache"]
    assert names["nocache"] == names["free"]
