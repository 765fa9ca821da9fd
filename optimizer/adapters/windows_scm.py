"""The Windows service as it is registered: made what it shall be, taken away, started, stopped.

Needs pywin32 and, for all but a look, an administrator. Each function that
changes something yields a word for each change, so none means nothing changed.
"""

from __future__ import annotations

import sys
import time
import winreg
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

if sys.platform != "win32":
    raise ImportError("there is no service control manager here")

import pywintypes
import servicemanager
import win32api
import win32con
import win32security
import win32service

from optimizer.adapters import windows_plan as plan
from optimizer.errors import ServiceError

WAIT_S = 30.0
_POLL_S = 0.1
_MISSING, _DENIED, _ALREADY, _INACTIVE, _MARKED = 1060, 5, 1056, 1062, 1072
"""Source: winerror.h, ERROR_SERVICE_DOES_NOT_EXIST, and so on."""
_UNSUPPORTED = frozenset({50, 87, 120, 124})
"""What a system says to a setting that it does not know; wine does to some."""
_SOURCE = rf"SYSTEM\CurrentControlSet\Services\EventLog\Application\{plan.NAME}"
_STATES = {1: "stopped", 2: "starting", 3: "stopping", 4: "running"}


class Found(NamedTuple):
    """The service as the manager has it; `code` is the exit code of its last run."""

    state: str
    pid: int
    code: int


def look() -> Found | None:
    """The service now; None where it is not installed. Raises ServiceError."""
    with _Manager(win32con.GENERIC_READ) as manager:
        service = manager.open(win32service.SERVICE_QUERY_STATUS)
        return None if service is None else _found(service)


def install(command: str, lacks: list[str]) -> Iterator[str]:
    """Register the service or set right what differs. Raises ServiceError.

    `lacks` gets the name of each setting that this system does not know.
    """
    with _Manager(win32service.SC_MANAGER_ALL_ACCESS) as manager:
        service = manager.open(win32service.SERVICE_ALL_ACCESS)
        if service is None:
            manager.create(command)
            service = manager.open(win32service.SERVICE_ALL_ACCESS)
            yield f"service {plan.NAME}, as {plan.ACCOUNT}"
        else:
            yield from _reconfigured(service, command)
        for name, level, wanted in _settings():
            done = _set(service, level, wanted)
            if done is None:
                lacks.append(name)
            elif done:
                yield name
        yield from _event_source()


def uninstall() -> Iterator[str]:
    """Stop the service and remove it, with its source of events. Raises ServiceError."""
    yield from stop()
    with _Manager(win32service.SC_MANAGER_ALL_ACCESS) as manager:
        service = manager.open(win32service.SERVICE_ALL_ACCESS)
        if service is not None:
            _told(win32service.DeleteService, service, allowed=_MARKED)
            yield f"service {plan.NAME} removed"
    try:
        winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, _SOURCE)
    except FileNotFoundError:
        return
    yield "event log source removed"


def start() -> Iterator[str]:
    """Start it and wait until it runs. Raises ServiceError."""
    with _Manager(win32con.GENERIC_READ) as manager:
        service = manager.need(win32service.SERVICE_START | win32service.SERVICE_QUERY_STATUS)
        if _found(service).state == "running":
            return
        _told(win32service.StartService, service, None, allowed=_ALREADY)
        _await(service, "running")
    yield "service started"


def stop() -> Iterator[str]:
    """Stop it and wait until it has ended; nothing happens where there is none."""
    with _Manager(win32con.GENERIC_READ) as manager:
        service = manager.open(win32service.SERVICE_STOP | win32service.SERVICE_QUERY_STATUS)
        if service is None or _found(service).state == "stopped":
            return
        stop_now = win32service.SERVICE_CONTROL_STOP
        _told(win32service.ControlService, service, stop_now, allowed=_INACTIVE)
        _await(service, "stopped")
    yield "service stopped"


def restrict(directory: Path, access_list: str, owner: str) -> bool:
    """Make it with that access list and owner (as in SDDL); whether it was changed.

    Raises ServiceError where that is denied. A filesystem that keeps no access
    lists (FAT) keeps none here.
    """
    made = not directory.is_dir()
    directory.mkdir(parents=True, exist_ok=True)
    what = win32security.DACL_SECURITY_INFORMATION | win32security.OWNER_SECURITY_INFORMATION
    revision = win32security.SDDL_REVISION_1
    to_text = win32security.ConvertSecurityDescriptorToStringSecurityDescriptor
    to_value = win32security.ConvertStringSecurityDescriptorToSecurityDescriptor
    wanted = to_value(f"O:{owner}{access_list}", revision)
    now = win32security.GetFileSecurity(str(directory), what)
    if to_text(now, revision, what) == to_text(wanted, revision, what):
        return made
    kind = win32security.SE_FILE_OBJECT
    protected = win32security.PROTECTED_DACL_SECURITY_INFORMATION
    with _privilege(win32security.SE_RESTORE_NAME):
        _told(
            win32security.SetNamedSecurityInfo,
            str(directory),
            kind,
            what | protected,
            wanted.GetSecurityDescriptorOwner(),
            None,
            wanted.GetSecurityDescriptorDacl(),
            None,
        )
    after = win32security.GetFileSecurity(str(directory), what)
    return made or to_text(after, revision, what) != to_text(now, revision, what)


def _settings() -> Iterator[tuple[str, int, Any]]:
    restart = [(win32service.SC_ACTION_RESTART, after * 1000) for after in plan.RESTART_AFTER_S]
    recovery = {
        "ResetPeriod": plan.RESET_S,
        "RebootMsg": "",
        "Command": "",
        "Actions": tuple(restart),
    }
    yield "description", win32service.SERVICE_CONFIG_DESCRIPTION, plan.DESCRIPTION
    yield "delayed start", win32service.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, True
    yield "recovery actions", win32service.SERVICE_CONFIG_FAILURE_ACTIONS, recovery
    # An end that was reported with a code is for good: see windows_plan.ends_for_good().
    yield "recovery after crashes only", win32service.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, False
    yield (
        "preshutdown timeout",
        win32service.SERVICE_CONFIG_PRESHUTDOWN_INFO,
        plan.PRESHUTDOWN_S * 1000,
    )
    yield (
        "privileges",
        win32service.SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
        list(plan.PRIVILEGES),
    )


def _set(service: Any, level: int, wanted: Any) -> bool | None:
    """Whether the setting was another one; None for one that this system does not know."""
    try:
        if _plain(win32service.QueryServiceConfig2(service, level)) == _plain(wanted):
            return False
    except (pywintypes.error, NotImplementedError) as exc:
        if exc.args[0] not in _UNSUPPORTED:
            raise ServiceError(f"cannot read the service's settings: {exc}") from exc
        return None
    try:
        win32service.ChangeServiceConfig2(service, level, wanted)
    except pywintypes.error as exc:
        if exc.winerror not in _UNSUPPORTED:
            raise ServiceError(f"cannot change the service's settings: {exc.strerror}") from exc
        return None
    return True


def _plain(value: Any) -> Any:
    """For comparison: no difference between lists and tuples, nor between none and empty."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value or None


def _reconfigured(service: Any, command: str) -> Iterator[str]:
    now = win32service.QueryServiceConfig(service)
    same = (now[1], now[3], now[7].casefold())
    if same != (win32service.SERVICE_AUTO_START, command, plan.ACCOUNT.casefold()):
        _told(
            win32service.ChangeServiceConfig,
            service,
            win32service.SERVICE_WIN32_OWN_PROCESS,
            win32service.SERVICE_AUTO_START,
            win32service.SERVICE_ERROR_NORMAL,
            command,
            None,
            0,
            None,
            plan.ACCOUNT,
            None,
            plan.DISPLAY_NAME,
        )
        yield "service command, account and start"


def _event_source() -> Iterator[str]:
    """Let the event viewer find the texts; the service itself may not write this key."""
    wanted = ("EventMessageFile", servicemanager.__file__)
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _SOURCE) as key:
            if winreg.QueryValueEx(key, wanted[0])[0] == wanted[1]:
                return
    except FileNotFoundError:
        pass
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, _SOURCE) as key:
        winreg.SetValueEx(key, wanted[0], 0, winreg.REG_EXPAND_SZ, wanted[1])
        winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, 7)
    yield "event log source"


def _found(service: Any) -> Found:
    # A dictionary, whatever the stubs say.
    status: Any = win32service.QueryServiceStatusEx(service)
    specific = status["ServiceSpecificExitCode"]
    return Found(
        state=_STATES.get(status["CurrentState"], str(status["CurrentState"])),
        pid=status["ProcessId"],
        code=specific or status["Win32ExitCode"],
    )


def _await(service: Any, state: str) -> None:
    until_s = time.monotonic() + WAIT_S
    while (found := _found(service)).state != state:
        if found.state == "stopped" or time.monotonic() > until_s:
            raise ServiceError(
                f"the service is {found.state}, not {state} (exit code {found.code}); see the "
                "event log and the file log, and `optimizer check-config`"
            )
        time.sleep(_POLL_S)


def _told(call: Callable[..., Any], *arguments: Any, allowed: int = 0) -> Any:
    """The call's result; None for the error that is allowed. Raises ServiceError for others."""
    try:
        return call(*arguments)
    except pywintypes.error as exc:
        if exc.winerror == allowed:
            return None
        remedy = "; run this as administrator" if exc.winerror == _DENIED else ""
        raise ServiceError(f"{exc.funcname or 'service'}: {exc.strerror}{remedy}") from exc


class _Manager:
    """An open service control manager, and the services opened by it until it is closed."""

    def __init__(self, rights: int) -> None:
        self._handles = [_told(win32service.OpenSCManager, None, None, rights)]

    def open(self, rights: int) -> Any:
        """Our service; None where it is not installed."""
        opened = _told(
            win32service.OpenService, self._handles[0], plan.NAME, rights, allowed=_MISSING
        )
        if opened is not None:
            self._handles.append(opened)
        return opened

    def need(self, rights: int) -> Any:
        """Our service. Raises ServiceError where it is not installed."""
        opened = self.open(rights)
        if opened is None:
            raise ServiceError(
                f"the service {plan.NAME} is not installed; run `optimizer service install`"
            )
        return opened

    def create(self, command: str) -> None:
        """Register it."""
        handle = _told(
            win32service.CreateService,
            self._handles[0],
            plan.NAME,
            plan.DISPLAY_NAME,
            win32service.SERVICE_ALL_ACCESS,
            win32service.SERVICE_WIN32_OWN_PROCESS,
            win32service.SERVICE_AUTO_START,
            win32service.SERVICE_ERROR_NORMAL,
            command,
            None,
            0,
            None,
            plan.ACCOUNT,
            None,
        )
        self._handles.append(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in reversed(self._handles):
            win32service.CloseServiceHandle(handle)


class _privilege:  # noqa: N801 - used like a function
    """Holds a privilege that administrators have but must ask for."""

    def __init__(self, name: str) -> None:
        rights = win32con.TOKEN_ADJUST_PRIVILEGES | win32con.TOKEN_QUERY
        self._token = win32security.OpenProcessToken(win32api.GetCurrentProcess(), rights)
        self._luid = win32security.LookupPrivilegeValue("", name)

    def __enter__(self) -> None:
        wanted: Any = [(self._luid, win32con.SE_PRIVILEGE_ENABLED)]
        self._before = win32security.AdjustTokenPrivileges(self._token, False, wanted)

    def __exit__(self, *_: object) -> None:
        win32security.AdjustTokenPrivileges(self._token, False, self._before)
