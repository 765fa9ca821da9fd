"""A kernel32 that pretends: the calls that we make, with what they were given written down."""

# ruff: noqa: N802  # the names are those of Windows

from __future__ import annotations

import ctypes
from typing import Any

INVALID_HANDLE = ctypes.c_void_p(-1).value
_TERMINATE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ubyte)


class FakeKernel32:
    """Calls succeed, but those in `failing`, which fail with that GetLastError().

    Addresses and handles are counted up. `memory` is what GlobalMemoryStatusEx
    says: size and what is left of memory, then of the commit limit.
    """

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.error = 0
        self.memory = (16 << 30, 12 << 30, 20 << 30, 15 << 30)
        self.disk = (100 << 30, 40 << 30)
        self.low = 0
        self.cluster = 4096
        self.keeps = 1.0
        self.allocated: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self.began: dict[object, int] = {}
        self.TerminateProcess = _TERMINATE(lambda *_: None)
        self._next = 0x10000

    def last_error(self) -> int:
        """GetLastError()."""
        return self.error

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """Arguments of each call of that name, plain numbers in place of ctypes' own."""
        return [arguments for called, arguments in self.calls if called == name]

    def _done(self, name: str, *arguments: Any) -> bool:
        self.calls.append((name, tuple(getattr(one, "value", one) for one in arguments)))
        if name in self.failing:
            self.error = self.failing[name]
            return False
        return True

    def _new(self) -> int:
        self._next += 0x10000
        return self._next

    def GlobalMemoryStatusEx(self, status: Any) -> int:
        """Fails as the real one does when the caller has not said how long the structure is."""
        fields = status._obj
        if ctypes.c_uint32.from_buffer(fields).value != 64:
            self.error = 87
            return 0
        fields[1], fields[2], fields[3], fields[4] = self.memory
        return int(self._done("GlobalMemoryStatusEx"))

    def GetDiskFreeSpaceExW(self, path: str, left: Any, size: Any, _: None) -> int:
        """See `disk`: size, and what is left to the caller."""
        size._obj.value, left._obj.value = self.disk
        return int(self._done("GetDiskFreeSpaceExW", path))

    def SetPriorityClass(self, process: Any, priority: int) -> int:
        """Written down."""
        return int(self._done("SetPriorityClass", process, priority))

    def VirtualAlloc(self, address: int | None, size: int, kind: int, protect: int) -> int | None:
        """Commits only inside of what was reserved."""
        if not self._done("VirtualAlloc", address, size, kind, protect):
            return None
        if kind == 0x2000:
            address = self._new() << 16
            self.committed[address] = 0
            return address
        base = max(start for start in self.committed if address is not None and start <= address)
        self.committed[base] += size
        return address

    def VirtualFree(self, address: int, size: int, kind: int) -> int:
        """Decommits a part, or releases the whole, for which the size must be 0."""
        if not self._done("VirtualFree", address, size, kind):
            return 0
        if kind == 0x8000:
            if size:
                self.error = 87
                return 0
            del self.committed[address]
        else:
            base = max(start for start in self.committed if start <= address)
            self.committed[base] -= size
        return 1

    def CreateFileW(self, *arguments: Any) -> int | None:
        """A handle, or INVALID_HANDLE_VALUE."""
        if not self._done("CreateFileW", *arguments):
            return INVALID_HANDLE
        handle = self._new()
        self.allocated[handle] = 0
        return handle

    def DeviceIoControl(self, *arguments: Any) -> int:
        """Written down."""
        return int(self._done("DeviceIoControl", *arguments))

    def SetFileInformationByHandle(self, handle: int, kind: int, found: Any, size: int) -> int:
        """Allocates whole clusters; of what is wanted only the share `keeps`."""
        assert (kind, size) == (5, 8)
        wanted = found._obj.value
        if not self._done("SetFileInformationByHandle", handle, wanted):
            return 0
        self.allocated[handle] = -(-int(wanted * self.keeps) // self.cluster) * self.cluster
        return 1

    def GetFileInformationByHandleEx(self, handle: int, kind: int, found: Any, size: int) -> int:
        """AllocationSize first, then the end of the file, which stays 0."""
        assert (kind, size) == (1, 24)
        found._obj[0] = self.allocated[handle]
        return int(self._done("GetFileInformationByHandleEx", handle))

    def CloseHandle(self, handle: int) -> int:
        """Written down."""
        return int(self._done("CloseHandle", handle))

    def CreateTimerQueueTimer(self, timer: Any, *arguments: Any) -> int:
        """A timer with a number."""
        timer._obj.value = self._new()
        return int(self._done("CreateTimerQueueTimer", *arguments))

    def ChangeTimerQueueTimer(self, *arguments: Any) -> int:
        """Written down."""
        return int(self._done("ChangeTimerQueueTimer", *arguments))

    def OpenProcess(self, *arguments: Any) -> int | None:
        """A handle that is the pid."""
        return arguments[2] if self._done("OpenProcess", *arguments) else None

    def GetProcessTimes(self, process: Any, began: Any, *_: Any) -> int:
        """See `began`, by handle; that of this process is -1."""
        plain = getattr(process, "value", process)
        began._obj[0] = self.began.get(plain, 0)
        return int(self._done("GetProcessTimes", process))

    def RegisterWaitForSingleObject(self, wait: Any, *arguments: Any) -> int:
        """Written down."""
        wait._obj.value = self._new()
        return int(self._done("RegisterWaitForSingleObject", *arguments))

    def SetNamedPipeHandleState(self, handle: int, mode: Any, *_: None) -> int:
        """Written down."""
        return int(self._done("SetNamedPipeHandleState", handle, mode._obj.value))

    def CreateMemoryResourceNotification(self, kind: int) -> int | None:
        """A handle; see `low`."""
        return self._new() if self._done("CreateMemoryResourceNotification", kind) else None

    def QueryMemoryResourceNotification(self, handle: int, state: Any) -> int:
        """See `low`."""
        state._obj.value = self.low
        return int(self._done("QueryMemoryResourceNotification", handle))
