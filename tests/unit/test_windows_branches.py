"""What the daemon does otherwise on Windows, told apart from Windows so that it runs anywhere."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.mounts import windows_entry
from optimizer.adapters.platform import firmware_bytes
from optimizer.adapters.stresser_reports import ThreadedReports
from optimizer.atomic import replace_when_free

DEADLINE_S = 15.0


@pytest.mark.parametrize(
    ("mount", "options", "removable", "network", "system"),
    [
        ("C:\\", ("rw", "fixed"), False, False, True),
        ("c:\\", ("rw", "fixed"), False, False, True),
        ("D:\\", ("rw", "fixed"), False, False, False),
        ("E:\\", ("ro", "cdrom"), True, False, False),
        ("F:\\", ("rw", "removable"), True, False, False),
        ("G:\\", ("rw", "remote"), False, True, False),
        # A volume in a folder of the system drive is a disk of its own.
        ("C:\\mounted\\data\\", ("rw", "fixed"), False, False, False),
    ],
)
def test_a_volume_is_what_windows_says_of_its_drive(
    mount: str,
    options: tuple[str, ...],
    removable: bool,
    network: bool,
    system: bool,
) -> None:
    """Only a fixed drive counts; that of the system is known by its letter."""
    entry = windows_entry(mount, "NTFS", options, "C:")
    assert (entry.removable, entry.network, entry.system) == (removable, network, system)
    assert (entry.mount, entry.device, entry.is_directory) == (mount, mount, True)


class Firmware:
    """A kernel32 that knows the installed memory in kilobytes, or fails."""

    def __init__(self, kilobytes: int, *, works: bool = True) -> None:
        self._kilobytes, self._works = kilobytes, works

    def GetPhysicallyInstalledSystemMemory(self, found: Any) -> int:  # noqa: N802  # Windows' name
        """See Windows."""
        assert isinstance(found._obj, ctypes.c_uint64)
        found._obj.value = self._kilobytes
        return int(self._works)


def test_installed_memory_is_what_the_firmware_tells() -> None:
    """16 GiB in kilobytes; tables that are broken, or that say 0, tell nothing."""
    assert firmware_bytes(Firmware(16 << 20)) == 16 << 30
    assert firmware_bytes(Firmware(16 << 20, works=False)) is None
    assert firmware_bytes(Firmware(0)) is None


def test_reports_are_read_by_a_thread_and_nobody_waits() -> None:
    """Nothing yet is nothing; what has come is given once, in order, also after the end."""
    read, write = os.pipe()
    try:
        reports = ThreadedReports(read)
        assert reports.read() == b""
        os.write(write, b"one\n")
        heard, patience = b"", threading.Event()
        for _ in range(int(DEADLINE_S / 0.01)):
            heard += reports.read()
            if heard == b"one\n":
                break
            patience.wait(0.01)
        assert heard == b"one\n"
        assert reports.read() == b""
        os.write(write, b"two\nthree\n")
    finally:
        os.close(write)
    for _ in range(int(DEADLINE_S / 0.01)):
        heard += reports.read()
        if heard.endswith(b"three\n"):
            break
        patience.wait(0.01)
    assert heard == b"one\ntwo\nthree\n"
    os.close(read)


@pytest.mark.parametrize(("busy", "pauses"), [(0, 0), (3, 3)])
def test_a_file_that_is_being_read_is_replaced_a_little_later(busy: int, pauses: int) -> None:
    """Each look of a reader lasts an instant; then the new one is there."""
    tries, slept = [], []

    def replace(name: Path, path: Path) -> None:
        tries.append((name, path))
        if len(tries) <= busy:
            raise PermissionError

    replace_when_free(Path("new"), Path("old"), replace, slept.append)
    assert tries == [(Path("new"), Path("old"))] * (busy + 1)
    assert len(slept) == pauses


def test_a_file_that_stays_open_is_an_error_in_the_end() -> None:
    """Less than a second of patience; what is no matter of sharing gets none."""
    slept: list[float] = []

    def denied(_name: Path, _path: Path) -> None:
        raise PermissionError("in use")

    with pytest.raises(PermissionError, match="in use"):
        replace_when_free(Path("new"), Path("old"), denied, slept.append)
    assert 0 < sum(slept) < 1.0

    def full(_name: Path, _path: Path) -> None:
        raise OSError("full")

    slept.clear()
    with pytest.raises(OSError, match="full"):
        replace_when_free(Path("new"), Path("old"), full, slept.append)
    assert slept == []


def test_the_daemon_pays_nothing_for_windows_elsewhere() -> None:
    """The module that calls foreign libraries is not loaded where no such call is made."""
    if sys.platform != "linux":
        pytest.skip("Windows needs it, and macOS loads it for others")
    program = "import sys, optimizer.app; sys.exit('ctypes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
