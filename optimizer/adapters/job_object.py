"""Windows: a job of which all that this process starts is part, and which dies with it.

Children inherit the job, so none can be started outside it, and the kernel
closes its only handle when this process ends, whatever ends it. Jobs nest
since Windows 8, so that of a service manager or a venv launcher does not matter.
"""

from __future__ import annotations

import sys

COST = "stressers of a daemon that is killed end by end of file and by their leases alone"
"""What the lack of the job means, for log and doctor."""
_KILL_ON_JOB_CLOSE = 0x2000
_EXTENDED_LIMITS = 9
"""Source: winnt.h, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, JobObjectExtendedLimitInformation."""

_QUERY_LIMITED = 0x1000
"""Source: winnt.h, PROCESS_QUERY_LIMITED_INFORMATION."""

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _Basic(ctypes.Structure):
        """JOBOBJECT_BASIC_LIMIT_INFORMATION. Source: winnt.h."""

        _fields_ = (
            ("process_time", ctypes.c_int64),
            ("job_time", ctypes.c_int64),
            ("flags", wintypes.DWORD),
            ("least_working_set", ctypes.c_size_t),
            ("most_working_set", ctypes.c_size_t),
            ("processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("priority", wintypes.DWORD),
            ("scheduling", wintypes.DWORD),
        )

    class _Extended(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION. Source: winnt.h."""

        _fields_ = (
            ("basic", _Basic),
            ("io", ctypes.c_uint64 * 6),
            ("process_memory", ctypes.c_size_t),
            ("job_memory", ctypes.c_size_t),
            ("peak_process_memory", ctypes.c_size_t),
            ("peak_job_memory", ctypes.c_size_t),
        )

    def enter_job() -> str | None:
        """Put this process into a job that is killed with it; None, or why that is denied.

        The handle stays open on purpose: to close it is to end this process.
        """
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.CreateJobObjectW.restype = wintypes.HANDLE
        kernel32.GetCurrentProcess.restype = wintypes.HANDLE
        job = kernel32.CreateJobObjectW(None, None)
        if not job:
            return _cause("CreateJobObject")
        limits = _Extended(basic=_Basic(flags=_KILL_ON_JOB_CLOSE))
        size, handle = ctypes.sizeof(limits), wintypes.HANDLE(job)
        if not kernel32.SetInformationJobObject(
            handle, _EXTENDED_LIMITS, ctypes.byref(limits), size
        ):
            cause = _cause("SetInformationJobObject")
        elif not kernel32.AssignProcessToJobObject(
            handle, wintypes.HANDLE(kernel32.GetCurrentProcess())
        ):
            cause = _cause("AssignProcessToJobObject")
        else:
            return None
        kernel32.CloseHandle(handle)
        return cause

    def in_job(pid: int) -> bool | None:
        """Whether that process is part of any job; None when it may not be looked at."""
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenProcess.restype = wintypes.HANDLE
        handle = kernel32.OpenProcess(_QUERY_LIMITED, False, pid)
        if not handle:
            return None
        found = wintypes.BOOL()
        known = kernel32.IsProcessInJob(wintypes.HANDLE(handle), None, ctypes.byref(found))
        kernel32.CloseHandle(wintypes.HANDLE(handle))
        return bool(found) if known else None

    def _cause(call: str) -> str:
        return f"{call}: {ctypes.WinError(ctypes.get_last_error()).strerror}"

else:

    def enter_job() -> str | None:
        """Nothing to do: elsewhere control groups and signals do the same. Always None."""
        return None

    def in_job(_pid: int) -> bool | None:
        """There are no jobs elsewhere. Always None."""
        return None
