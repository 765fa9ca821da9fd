"""What Windows tells of memory beside its size: the commit limit, and that it is short.

`WindowsMemory` is given the library, so that tests on any platform give it a fake one.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from optimizer.counters import MemoryBound, MemoryCounters

_LOW_MEMORY = 0
"""LowMemoryResourceNotification. Source: CreateMemoryResourceNotification, memoryapi.h."""
_HANDLE = ctypes.c_void_p
SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "CloseHandle": (ctypes.c_int, (_HANDLE,)),
    "CreateMemoryResourceNotification": (_HANDLE, (ctypes.c_int,)),
    "GlobalMemoryStatusEx": (ctypes.c_int, (ctypes.c_void_p,)),
    "QueryMemoryResourceNotification": (ctypes.c_int, (_HANDLE, ctypes.c_void_p)),
}
"""Result and arguments of each call; without them handles would be cut to 32 bits."""


class WindowsMemory:
    """The calls, made to `kernel32`; `last_error` is GetLastError().

    `fault` says why the last reading has no low-memory notification, None when it has.
    """

    def __init__(self, kernel32: Any, last_error: Callable[[], int]) -> None:
        self.fault: str | None = None
        self._kernel32 = kernel32
        self._last_error = last_error
        self._notification: int | None = None

    def seen(self, physical: MemoryCounters) -> MemoryCounters:
        """The counters with the commit limit as a bound, and the notification.

        Raises OSError when the limit cannot be read: one that is not known is not
        taken for none. A notification that is not to be had is None.
        """
        return replace(physical, bounds=(self.commit(),), low_memory=self.is_low())

    def commit(self) -> MemoryBound:
        """The commit limit (memory and page files; a job may set a lower one), and what is left.

        Who meets it is refused memory, though some may be free. Raises OSError.

        Source: GlobalMemoryStatusEx, ullTotalPageFile and ullAvailPageFile.
        """
        # dwLength and dwMemoryLoad share the first eight bytes of MEMORYSTATUSEX.
        fields = (ctypes.c_uint64 * 8)()
        ctypes.c_uint32.from_buffer(fields).value = ctypes.sizeof(fields)
        if not self._kernel32.GlobalMemoryStatusEx(ctypes.byref(fields)):
            raise OSError(self._fault("the commit limit", "GlobalMemoryStatusEx"))
        return MemoryBound(limit_bytes=fields[3], available_bytes=fields[4])

    def is_low(self) -> bool | None:
        """Whether the kernel says that physical memory is short; None when that is not told.

        Source: CreateMemoryResourceNotification; about 32 MB for each 4 GB, 64 MB at most.
        """
        self.fault = None
        if self._notification is None:
            made = self._kernel32.CreateMemoryResourceNotification(_LOW_MEMORY)
            if not made:
                self.fault = self._fault("a shortage", "CreateMemoryResourceNotification")
                return None
            self._notification = made
        low = ctypes.c_int(0)
        query = self._kernel32.QueryMemoryResourceNotification
        if not query(self._notification, ctypes.byref(low)):
            self.fault = self._fault("a shortage", "QueryMemoryResourceNotification")
            self.close()  # made anew next time
            return None
        return bool(low.value)

    def close(self) -> None:
        """Let go of the notification; it is made anew when needed."""
        if self._notification is not None:
            self._kernel32.CloseHandle(self._notification)
            self._notification = None

    def _fault(self, what: str, call: str) -> str:
        return f"{what} cannot be told: {call} failed with Windows error {self._last_error()}"


def windows_memory() -> WindowsMemory | None:
    """Those of this host; None where it is not Windows."""
    if sys.platform != "win32":
        return None
    library = ctypes.WinDLL("kernel32", use_last_error=True)
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return WindowsMemory(library, ctypes.get_last_error)
