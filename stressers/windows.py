"""Windows' calls that a stresser needs; nothing else knows their names and numbers.

`Windows` is given the library, so that tests on any platform give it a fake one.
A call that fails raises OSError with the errno that other platforms have for it.

Source: Microsoft Win32 API reference, the page of each call.
"""

from __future__ import annotations

import ctypes
import errno
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_IDLE_PRIORITY_CLASS = 0x40
_RESERVE, _COMMIT, _DECOMMIT, _RELEASE = 0x2000, 0x1000, 0x4000, 0x8000
_READ_WRITE = 0x04
_READ_WRITE_DELETE = 0xC0010000
"""GENERIC_READ | GENERIC_WRITE | DELETE."""
_CREATE_NEW = 1
_DELETE_ON_CLOSE, _NOT_INDEXED = 0x04000000, 0x2000
_STANDARD_INFO, _ALLOCATION_INFO = 1, 5
"""Members of FILE_INFO_BY_HANDLE_CLASS."""
_NO_COMPRESSION = 0x9C040
"""FSCTL_SET_COMPRESSION; its argument is COMPRESSION_FORMAT_NONE, 0."""
_SYNCHRONIZE, _QUERY_LIMITED = 0x100000, 0x1000
_FOREVER = 0xFFFFFFFF
_ONCE_IN_WAIT_THREAD = 0x8 | 0x4
"""WT_EXECUTEONLYONCE | WT_EXECUTEINWAITTHREAD."""
_IN_TIMER_THREAD = 0x20
"""WT_EXECUTEINTIMERTHREAD."""
_MOST_MS = 0x7FFFFFFF
_ITSELF = ctypes.c_void_p(-1)
"""What GetCurrentProcess() returns, a constant."""
_NO_SUCH_PROCESS = 87

_ERRNOS = {
    1: errno.EOPNOTSUPP,  # ERROR_INVALID_FUNCTION
    5: errno.EACCES,  # ERROR_ACCESS_DENIED
    8: errno.ENOMEM,  # ERROR_NOT_ENOUGH_MEMORY
    14: errno.ENOMEM,  # ERROR_OUTOFMEMORY
    19: errno.EROFS,  # ERROR_WRITE_PROTECT
    39: errno.ENOSPC,  # ERROR_HANDLE_DISK_FULL
    50: errno.EOPNOTSUPP,  # ERROR_NOT_SUPPORTED
    80: errno.EEXIST,  # ERROR_FILE_EXISTS
    87: errno.EINVAL,  # ERROR_INVALID_PARAMETER
    112: errno.ENOSPC,  # ERROR_DISK_FULL
    120: errno.EOPNOTSUPP,  # ERROR_CALL_NOT_IMPLEMENTED
    1295: errno.EDQUOT,  # ERROR_DISK_QUOTA_EXCEEDED
    1455: errno.ENOMEM,  # ERROR_COMMITMENT_LIMIT
}
"""Source: winerror.h. What is not here becomes EIO."""

_P, _D, _B, _S, _Q = (
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_int,
    ctypes.c_size_t,
    ctypes.c_int64,
)
SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "ChangeTimerQueueTimer": (_B, (_P, _P, _D, _D)),
    "CloseHandle": (_B, (_P,)),
    "CreateFileW": (_P, (ctypes.c_wchar_p, _D, _D, _P, _D, _D, _P)),
    "CreateTimerQueueTimer": (_B, (_P, _P, _P, _P, _D, _D, _D)),
    "DeviceIoControl": (_B, (_P, _D, _P, _D, _P, _D, _P, _P)),
    "GetDiskFreeSpaceExW": (_B, (ctypes.c_wchar_p, _P, _P, _P)),
    "GetFileInformationByHandleEx": (_B, (_P, _B, _P, _D)),
    "GetProcessTimes": (_B, (_P, _P, _P, _P, _P)),
    "GlobalMemoryStatusEx": (_B, (_P,)),
    "OpenProcess": (_P, (_D, _B, _D)),
    "RegisterWaitForSingleObject": (_B, (_P, _P, _P, _P, _D, _D)),
    "SetFileInformationByHandle": (_B, (_P, _B, _P, _D)),
    "SetPriorityClass": (_B, (_P, _D)),
    "TerminateProcess": (_B, (_P, _D)),
    "VirtualAlloc": (_P, (_P, _S, _D, _D)),
    "VirtualFree": (_B, (_P, _S, _D)),
}
"""Result and arguments of each call; without them handles and addresses would be cut to 32 bits."""


class Windows:
    """The calls, made to `kernel32`; `last_error` is GetLastError()."""

    __slots__ = ("_kernel32", "_last_error")

    def __init__(self, kernel32: Any, last_error: Callable[[], int]) -> None:
        self._kernel32 = kernel32
        self._last_error = last_error

    def memory(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Size and what is left, in bytes: of physical memory, and of the commit limit.

        The commit limit is memory and page files together; a job may set a lower one.
        """
        # dwLength and dwMemoryLoad share the first eight bytes of MEMORYSTATUSEX.
        fields = (ctypes.c_uint64 * 8)()
        ctypes.c_uint32.from_buffer(fields).value = ctypes.sizeof(fields)
        self._check(self._kernel32.GlobalMemoryStatusEx(ctypes.byref(fields)))
        return (fields[1], fields[2]), (fields[3], fields[4])

    def disk(self, path: str) -> tuple[int, int]:
        """Size of a volume and what is left to the caller, its quota counted, in bytes."""
        left, size = ctypes.c_uint64(), ctypes.c_uint64()
        found = self._kernel32.GetDiskFreeSpaceExW(
            path, ctypes.byref(left), ctypes.byref(size), None
        )
        self._check(found)
        return size.value, left.value

    def idle(self) -> bool:
        """Put this process into IDLE_PRIORITY_CLASS; not into background mode, nor into EcoQoS.

        Those two clamp what a process may keep in memory and how fast it may run.
        """
        return bool(self._kernel32.SetPriorityClass(_ITSELF, _IDLE_PRIORITY_CLASS))

    def reserve(self, size: int) -> int:
        """Address space without memory behind it; where it begins."""
        return self._address(self._kernel32.VirtualAlloc(None, size, _RESERVE, _READ_WRITE))

    def commit(self, address: int, size: int) -> None:
        """Private memory for it, of zeros; it counts against the commit limit."""
        self._address(self._kernel32.VirtualAlloc(address, size, _COMMIT, _READ_WRITE))

    def decommit(self, address: int, size: int) -> None:
        """Give the memory back, and keep the address space."""
        self._check(self._kernel32.VirtualFree(address, size, _DECOMMIT))

    def release(self, address: int) -> None:
        """Give everything back that was reserved there."""
        self._check(self._kernel32.VirtualFree(address, 0, _RELEASE))

    def create(self, path: str) -> int:
        """A new file that nobody else can open, and that goes with its last handle.

        Not compressed, for that would take less space than is held, and not indexed.
        """
        handle = self._kernel32.CreateFileW(
            path, _READ_WRITE_DELETE, 0, None, _CREATE_NEW, _DELETE_ON_CLOSE | _NOT_INDEXED, None
        )
        if handle in {None, ctypes.c_void_p(-1).value}:
            raise self._failure()
        self._kernel32.DeviceIoControl(
            handle,
            _NO_COMPRESSION,
            ctypes.byref(ctypes.c_uint16(0)),
            2,
            None,
            0,
            ctypes.byref(ctypes.c_uint32()),
            None,
        )  # where it is denied, what is held is not enough, and allocate() says so
        return int(handle)

    def allocate(self, handle: int, size: int) -> None:
        """Let a file have just so many bytes of space; it stays empty, so nothing is ever written.

        To move its end instead would let some filesystems write zeros when it is closed.
        """
        wanted = ctypes.c_int64(size)
        done = self._kernel32.SetFileInformationByHandle(
            handle, _ALLOCATION_INFO, ctypes.byref(wanted), ctypes.sizeof(wanted)
        )
        self._check(done)

    def allocated(self, handle: int) -> int:
        """Bytes of space that a file has."""
        found = (ctypes.c_int64 * 3)()  # FILE_STANDARD_INFO begins with AllocationSize
        self._check(
            self._kernel32.GetFileInformationByHandleEx(
                handle, _STANDARD_INFO, ctypes.byref(found), ctypes.sizeof(found)
            )
        )
        return found[0]

    def close(self, handle: int) -> None:
        """Let go of a handle."""
        self._check(self._kernel32.CloseHandle(handle))

    def end_in(self, seconds: float) -> int:
        """Let the kernel's timer end this process; the timer, for end_later().

        A thread that is not Python's calls TerminateProcess(), so that a hung
        interpreter does not prevent it. The exit code is 1.
        """
        timer = ctypes.c_void_p()
        self._check(
            self._kernel32.CreateTimerQueueTimer(
                ctypes.byref(timer),
                None,
                self._terminate(),
                _ITSELF,
                _milliseconds(seconds),
                0,
                _IN_TIMER_THREAD,
            )
        )
        return int(timer.value or 0)

    def end_later(self, timer: int, seconds: float) -> None:
        """Set a timer of end_in() anew."""
        self._check(self._kernel32.ChangeTimerQueueTimer(None, timer, _milliseconds(seconds), 0))

    def end_with(self, parent: int) -> bool:
        """Let the kernel end this process together with that one; False when it has gone already.

        Also gone is a parent that began after us: its pid is another process's now.
        The exit code is 0.
        """
        handle = self._kernel32.OpenProcess(_SYNCHRONIZE | _QUERY_LIMITED, 0, parent)
        if not handle:
            if self._last_error() == _NO_SUCH_PROCESS:
                return False
            raise self._failure()
        if self._began(handle) > self._began(_ITSELF):
            self.close(handle)
            return False
        wait = ctypes.c_void_p()
        self._check(
            self._kernel32.RegisterWaitForSingleObject(
                ctypes.byref(wait),
                handle,
                self._terminate(),
                _ITSELF,
                _FOREVER,
                _ONCE_IN_WAIT_THREAD,
            )
        )
        return True

    def _began(self, process: object) -> int:
        """When a process was made, in units of 100 ns since 1601."""
        times = (ctypes.c_uint64 * 4)()
        each = [ctypes.byref(times, 8 * index) for index in range(4)]
        self._check(self._kernel32.GetProcessTimes(process, *each))
        return times[0]

    def _terminate(self) -> object:
        """TerminateProcess() as a callback; the exit code is whether a time ran out."""
        return ctypes.cast(self._kernel32.TerminateProcess, ctypes.c_void_p)

    def _address(self, found: int | None) -> int:
        if not found:
            raise self._failure()
        return found

    def _check(self, done: int) -> None:
        if not done:
            raise self._failure()

    def _failure(self) -> OSError:
        code = self._last_error()
        number = _ERRNOS.get(code, errno.EIO)
        return OSError(number, f"{errno.errorcode[number]} (Windows error {code})")


def _milliseconds(seconds: float) -> int:
    return max(1, min(int(seconds * 1000), _MOST_MS))


def system() -> Windows:
    """The calls of this host. Raises OSError where it is not Windows."""
    if sys.platform != "win32":
        raise OSError(errno.ENOSYS, "there is no Windows here")
    if not _KNOWN:
        library = ctypes.WinDLL("kernel32", use_last_error=True)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        _KNOWN.append(Windows(library, ctypes.get_last_error))
    return _KNOWN[0]


_KNOWN: list[Windows] = []
