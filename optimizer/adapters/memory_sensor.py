"""Reads the memory counters, and the kernel's signs that memory is short."""

from __future__ import annotations

import contextlib
import mmap
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from optimizer.adapters.kernel_file import KernelFile
from optimizer.adapters.memory_scope import MemoryScope
from optimizer.counters import MemoryCounters

if TYPE_CHECKING:
    from optimizer.adapters.windows_memory import WindowsMemory

_MEMINFO_BYTES = 8192
_PRESSURE_BYTES = 256
_VMSTAT_BYTES = 1 << 16
_MEMINFO_LINE = re.compile(
    rb"^(MemTotal|MemFree|MemAvailable|Buffers|Cached|Shmem|SReclaimable): +(\d{1,18}) kB$",
    re.MULTILINE,
)
_SWAP = re.compile(rb"^SwapTotal: +[1-9]", re.MULTILINE)
_SWAPPED_OUT = re.compile(rb"^pswpout (\d{1,18})$", re.MULTILINE)
_STALLED = re.compile(rb"^some .*total=(\d{1,18})$", re.MULTILINE)


def parse_meminfo(text: bytes) -> MemoryCounters:
    """Memory counters from /proc/meminfo.

    cache = Buffers + Cached + SReclaimable - Shmem, within 0 and what is not
    free. Available memory is free + cache where the kernel does not tell it
    (before 3.14), or tells 0, which some kernels do by mistake. Where it
    exceeds the total, as inside some containers, it is the free memory. Raises
    ValueError when total, free, buffers or cached are missing, or when more
    than the total is free.

    Source: proc(5), /proc/meminfo; psutil's virtual_memory for the odd cases.
    """
    kib = {name: int(value) for name, value in _MEMINFO_LINE.findall(text)}
    try:
        total, free = kib[b"MemTotal"], kib[b"MemFree"]
        files = kib[b"Buffers"] + kib[b"Cached"]
    except KeyError as exc:
        raise ValueError(f"/proc/meminfo has no {exc.args[0].decode()}") from exc
    if total == 0 or free > total:
        raise ValueError(f"/proc/meminfo contradicts itself: total {total} kB, free {free} kB")
    cache = files + kib.get(b"SReclaimable", 0) - kib.get(b"Shmem", 0)
    cache = min(max(cache, 0), total - free)
    available = kib.get(b"MemAvailable", 0) or free + cache
    return MemoryCounters(
        total_bytes=total * 1024,
        available_bytes=(available if available <= total else free) * 1024,
        free_bytes=free * 1024,
        cache_bytes=cache * 1024,
    )


def parse_stalled_s(text: bytes) -> float | None:
    """For how long some program has waited for memory, in seconds since boot; None if not told.

    Source: Linux Documentation/accounting/psi.rst; the unit is microseconds.
    """
    match = _STALLED.search(text)
    return int(match[1]) / 1e6 if match else None


def parse_swapped_out(text: bytes) -> int | None:
    """Pages written to the swap since boot, from /proc/vmstat; None if not told.

    Pages of zeros are not written and not counted, since Linux 6.12.

    Source: Linux mm/page_io.c, PSWPOUT.
    """
    match = _SWAPPED_OUT.search(text)
    return int(match[1]) if match else None


def portable_memory() -> MemoryCounters:
    """Memory counters from psutil; the cache is taken to be available - free."""
    memory = psutil.virtual_memory()
    return MemoryCounters(
        total_bytes=memory.total,
        available_bytes=memory.available,
        free_bytes=memory.free,
        cache_bytes=max(0, memory.available - memory.free),
    )


def _windows() -> WindowsMemory | None:
    if sys.platform != "win32":
        return None
    # Elsewhere it would cost the daemon memory for nothing.
    from optimizer.adapters.windows_memory import windows_memory  # noqa: PLC0415

    return windows_memory()


class MemorySensor:
    """Memory and pressure; files are kept open, for psutil opens each anew at twice the cost.

    `windows` are the calls to make in place of all that on Windows.
    """

    def __init__(
        self, proc: Path, scope: MemoryScope, windows: WindowsMemory | None = None
    ) -> None:
        self._windows = _windows() if windows is None else windows
        self._scope = scope
        self._meminfo = KernelFile(proc / "meminfo", _MEMINFO_BYTES)
        self._vmstat = KernelFile(proc / "vmstat", _VMSTAT_BYTES)
        self._pressure = KernelFile(proc / "pressure/memory", _PRESSURE_BYTES)

    def read(self) -> MemoryCounters:
        """The counters now, the container's own where it has a limit.

        Raises OSError or ValueError; a sign of pressure that the kernel does not
        give is None.
        """
        if self._windows is not None:
            return self._windows.seen(portable_memory())
        if sys.platform != "linux":
            return portable_memory()
        text = self._meminfo.read()
        counters = self._scope.seen(parse_meminfo(text))
        stalled_s = swapped = None
        with contextlib.suppress(OSError):  # switched off, or an old kernel
            stalled_s = parse_stalled_s(self._pressure.read())
        if _SWAP.search(text) is not None:
            with contextlib.suppress(OSError):
                swapped = parse_swapped_out(self._vmstat.read())
        return replace(
            counters,
            stalled_s=stalled_s,
            swapped_out_bytes=None if swapped is None else swapped * mmap.PAGESIZE,
        )

    @property
    def fault(self) -> str | None:
        """Why the last reading lacks a sign that it should have; None when it lacks none."""
        return None if self._windows is None else self._windows.fault

    def close(self) -> None:
        """Close the files that are kept open; a later read opens them again."""
        if self._windows is not None:
            self._windows.close()
        for file in (self._meminfo, self._vmstat, self._pressure):
            file.close()
        self._scope.close()
