"""What Windows tells of processes, CPU and memory, and how one is ended there.

A process is known by its roster: pid, time of its start, and an owner who is
also the owner of the directory that the roster is in.
"""

from __future__ import annotations

import ctypes
import sys

from recover.model import Process

_QUERY, _TERMINATE, _SYNCHRONIZE = 0x1000, 0x0001, 0x00100000
"""Source: winnt.h, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_TERMINATE, SYNCHRONIZE."""
_TOKEN_QUERY, _TOKEN_USER, _TOKEN_OWNER = 0x0008, 1, 4
_FILE_OBJECT, _OWNER_INFORMATION = 1, 1
_EPOCH_100NS = 116_444_736_000_000_000
"""1970-01-01 in units of 100 ns since 1601. Source: minwinbase.h, FILETIME."""
_RUNNING, _NO_SUCH_PROCESS = 259, 87
"""Source: winbase.h, STILL_ACTIVE; winerror.h, ERROR_INVALID_PARAMETER."""
_SC_CONNECT, _SERVICE_QUERY = 0x0001, 0x0004
"""Source: winsvc.h, SC_MANAGER_CONNECT, SERVICE_QUERY_STATUS."""
_SAME, _OTHER = 0, 1
"""Stand-ins for user ids: whether a process is of the owner of our directory or not."""


def microseconds(low: int, high: int) -> int:
    """A FILETIME in microseconds since the epoch."""
    return (((high << 32) | low) - _EPOCH_100NS) // 10


if sys.platform == "win32":
    from ctypes import wintypes

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)

    class _Memory(ctypes.Structure):
        """MEMORYSTATUSEX. Source: sysinfoapi.h."""

        _fields_ = (
            ("length", wintypes.DWORD),
            ("load", wintypes.DWORD),
            *((f"bytes_{index}", ctypes.c_uint64) for index in range(7)),
        )

    def process_of(pid: int, directory: str) -> Process | None:
        """The process of that pid; None when there is none that may be looked at."""
        handle = _kernel32.OpenProcess(_QUERY, False, pid)
        if not handle:
            return None
        try:
            start = _start(handle)
            same = _is_of_owner(handle, directory)
        finally:
            _kernel32.CloseHandle(wintypes.HANDLE(handle))
        return (
            None if start is None else Process(pid, start=start, uids=(_SAME if same else _OTHER,))
        )

    def terminate(process: Process, timeout_s: float) -> bool:
        """End that very process; whether it has ended. Raises OSError when that is denied.

        The handle keeps the pid from being used again while it is looked at.
        """
        handle = _kernel32.OpenProcess(_QUERY | _TERMINATE | _SYNCHRONIZE, False, process.pid)
        if not handle:
            if ctypes.get_last_error() == _NO_SUCH_PROCESS:
                return True
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            if _start(handle) != process.start:
                return True  # another process has its pid: ours has ended
            if not _kernel32.TerminateProcess(wintypes.HANDLE(handle), 1):
                raise ctypes.WinError(ctypes.get_last_error())
            wait_ms = int(timeout_s * 1000)
            return bool(_kernel32.WaitForSingleObject(wintypes.HANDLE(handle), wait_ms) == 0)
        finally:
            _kernel32.CloseHandle(wintypes.HANDLE(handle))

    def lives(process: Process) -> bool:
        """Whether that very process still runs."""
        handle = _kernel32.OpenProcess(_QUERY, False, process.pid)
        if not handle:
            return False
        try:
            return _start(handle) == process.start
        finally:
            _kernel32.CloseHandle(wintypes.HANDLE(handle))

    def _start(handle: int) -> int | None:
        """Microseconds since the epoch; None when it has ended."""
        times = [wintypes.FILETIME() for _ in range(4)]
        code = wintypes.DWORD()
        if not _kernel32.GetProcessTimes(wintypes.HANDLE(handle), *map(ctypes.byref, times)):
            return None
        known = _kernel32.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        if not known or code.value != _RUNNING:
            return None
        return microseconds(times[0].dwLowDateTime, times[0].dwHighDateTime)

    def _is_of_owner(handle: int, directory: str) -> bool:
        """Whether the directory belongs to the process's user, or to whom its new files do."""
        token, sid, descriptor = wintypes.HANDLE(), ctypes.c_void_p(), ctypes.c_void_p()
        if not _advapi32.OpenProcessToken(
            wintypes.HANDLE(handle), _TOKEN_QUERY, ctypes.byref(token)
        ):
            return False
        try:
            failed = _advapi32.GetNamedSecurityInfoW(
                ctypes.c_wchar_p(directory),
                _FILE_OBJECT,
                _OWNER_INFORMATION,
                ctypes.byref(sid),
                None,
                None,
                None,
                ctypes.byref(descriptor),
            )
            if failed:
                return False
            return any(_is_token_of(token, kind, sid) for kind in (_TOKEN_USER, _TOKEN_OWNER))
        finally:
            _kernel32.CloseHandle(token)
            if descriptor:
                _kernel32.LocalFree(descriptor)

    def _is_token_of(token: wintypes.HANDLE, kind: int, sid: ctypes.c_void_p) -> bool:
        """Whether that identity of a token is `sid`; both kinds begin with a pointer to theirs."""
        found, size = ctypes.create_string_buffer(256), wintypes.DWORD()
        told = _advapi32.GetTokenInformation(token, kind, found, len(found), ctypes.byref(size))
        return bool(told and _advapi32.EqualSid(ctypes.c_void_p.from_buffer(found), sid))

    def service_state(name: str) -> tuple[int, int] | None:
        """State and pid of a service; None where there is none. Source: winsvc.h.

        Asked by the programming interface: what `sc queryex` prints is translated.
        """
        _advapi32.OpenSCManagerW.restype = _advapi32.OpenServiceW.restype = wintypes.HANDLE
        manager = wintypes.HANDLE(_advapi32.OpenSCManagerW(None, None, _SC_CONNECT))
        if not manager:
            return None
        wide = ctypes.c_wchar_p(name)
        service = wintypes.HANDLE(_advapi32.OpenServiceW(manager, wide, _SERVICE_QUERY))
        try:
            if not service:
                return None
            # SERVICE_STATUS_PROCESS: the state is the second word, the pid the eighth.
            words, size = (wintypes.DWORD * 9)(), wintypes.DWORD()
            told = _advapi32.QueryServiceStatusEx(
                service, 0, words, ctypes.sizeof(words), ctypes.byref(size)
            )
            return (words[1], words[7]) if told else None
        finally:
            if service:
                _advapi32.CloseServiceHandle(service)
            _advapi32.CloseServiceHandle(manager)

    def cpu_times() -> tuple[int, int] | None:
        """Idle and all time until now, in units of 100 ns. Kernel time contains idle time."""
        times = [wintypes.FILETIME() for _ in range(3)]
        if not _kernel32.GetSystemTimes(*map(ctypes.byref, times)):
            return None
        idle, kernel, user = ((one.dwHighDateTime << 32) | one.dwLowDateTime for one in times)
        return idle, kernel + user

    def memory_ratio() -> float | None:
        """Share of the memory that is not available."""
        found = _Memory()
        found.length = ctypes.sizeof(found)
        if not _kernel32.GlobalMemoryStatusEx(ctypes.byref(found)):
            return None
        return float(found.load) / 100
