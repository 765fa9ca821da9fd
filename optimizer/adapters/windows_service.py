"""Runs a program as a Windows service: the manager's orders in, state and events out.

pywin32 speaks with the service control manager in threads of its own; the
program runs in the main thread, as it does in the foreground, because only
that may have signal handlers. An order to stop arrives there as SIGTERM.
"""

from __future__ import annotations

import _thread
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

if sys.platform != "win32":
    raise ImportError("there is no service control manager here")

import pywintypes
import servicemanager
import win32service
import win32serviceutil

from optimizer.adapters.windows_plan import DISPLAY_NAME, NAME, ends_for_good
from optimizer.errors import ServiceError

_CONNECT_S = 30.0
"""The manager itself waits no longer for a service that it has started."""
_INSIST_S = 0.2
"""A stop that comes before the daemon has its handler is told again."""
_STOP_HINT_MS = 10_000
_TEXT_CHARS = 8000
"""Longest text of an event; the log's limit is about 31,000."""
_CRASHED = 1
_SERVICE_SPECIFIC = 1066
"""Source: winerror.h, ERROR_SERVICE_SPECIFIC_ERROR: see the other code."""
_RESUMED = frozenset({7, 18})
"""Source: winuser.h, PBT_APMRESUMESUSPEND, PBT_APMRESUMEAUTOMATIC."""
_SUSPENDED = 4
"""Source: winuser.h, PBT_APMSUSPEND."""

_log = logging.getLogger("optimizer.service")


class _Hosted:
    """What the manager's threads and the main thread tell one another."""

    def __init__(self) -> None:
        self.connected = threading.Event()
        self.ended = threading.Event()
        self.refused: Exception | None = None
        self.code = 0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Tell the main thread to stop, until it has ended."""
        if not self._stopping.is_set():
            self._stopping.set()
            threading.Thread(target=self._insist, daemon=True).start()

    def _insist(self) -> None:
        while not self.ended.wait(_INSIST_S):
            _thread.interrupt_main(signal.SIGTERM)


_hosted = _Hosted()


class Service(win32serviceutil.ServiceFramework):
    """The service as pywin32 sees it; one for each process."""

    _svc_name_ = NAME
    _svc_display_name_ = DISPLAY_NAME

    def GetAcceptedControls(self) -> int:  # noqa: N802 - pywin32's names
        """Stop, preshutdown (which comes before shutdown, and instead of it), power events."""
        return (
            win32service.SERVICE_ACCEPT_STOP
            | win32service.SERVICE_ACCEPT_PRESHUTDOWN
            | win32service.SERVICE_ACCEPT_POWEREVENT
        )

    def SvcRun(self) -> None:  # noqa: N802
        """Until the main thread has ended; then say how, and end the process."""
        self.ReportServiceStatus(win32service.SERVICE_RUNNING)
        _hosted.connected.set()
        _hosted.ended.wait()
        code = _hosted.code
        if code == 0:
            self.ReportServiceStatus(win32service.SERVICE_STOPPED)
        elif ends_for_good(code):
            self.ReportServiceStatus(
                win32service.SERVICE_STOPPED, win32ExitCode=_SERVICE_SPECIFIC, svcExitCode=code
            )
        # Without a report the manager takes it for a crash, and restarts it. pywin32 would
        # report an end without an error after this one.
        os._exit(code)

    def SvcStop(self) -> None:  # noqa: N802
        """Pass it on at once; the end is reported when all load is gone."""
        self.ReportServiceStatus(win32service.SERVICE_STOP_PENDING, waitHint=_STOP_HINT_MS)
        _hosted.stop()

    def SvcShutdown(self) -> None:  # noqa: N802
        """As a stop."""
        self.SvcStop()

    def SvcOtherEx(self, control: int, event_type: int, _data: object) -> None:  # noqa: N802
        """Preshutdown is a stop. After a sleep the loop sees the gap and only measures at first."""
        if control == win32service.SERVICE_CONTROL_PRESHUTDOWN:
            self.SvcStop()
        elif control == win32service.SERVICE_CONTROL_POWEREVENT:
            if event_type == _SUSPENDED:
                _log.info("the host goes to sleep: leases run out meanwhile")
            elif event_type in _RESUMED:
                _log.info("the host has woken up")


class _Tail(io.TextIOBase):
    """Stands for the console that a service has not: keeps the end of what is said."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Keep the last of it."""
        self.text = (self.text + text)[-_TEXT_CHARS:]
        return len(text)

    def writable(self) -> bool:
        """It takes text."""
        return True


class _EventLog(logging.Handler):
    """Warnings and errors of the log, in the event log too; repeats are limited there already."""

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: the file log has it as well."""
        facts = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
        shown = {key: value for key, value in facts.items() if not key.startswith("_")}
        report = (
            servicemanager.LogErrorMsg
            if record.levelno >= logging.ERROR
            else servicemanager.LogWarningMsg
        )
        _say(report, json.dumps(shown, default=str))


def host(run: Callable[[], int]) -> int:
    """Run it in this (the main) thread under the service manager; its exit code.

    Raises ServiceError where it was not the manager that started this process.
    """
    servicemanager.Initialize(NAME, servicemanager.__file__)
    servicemanager.PrepareToHostSingle(Service)
    said = _Tail()
    # A service has no console; some libraries fail without the streams.
    sys.stdout, sys.stderr = sys.stdout or said, said
    dispatcher = threading.Thread(target=_dispatch, daemon=True)
    dispatcher.start()
    _hosted.connected.wait(_CONNECT_S)
    if _hosted.refused is not None or not _hosted.connected.is_set():
        raise ServiceError(
            f"the service manager did not start this: {_hosted.refused}; "
            "use `optimizer service start`, or `optimizer run` in the foreground"
        )
    events = _EventLog(level=logging.WARNING)
    logging.getLogger().addHandler(events)
    _say(servicemanager.LogInfoMsg, f"{DISPLAY_NAME} has started, pid {os.getpid()}.")
    _hosted.code = _CRASHED
    try:
        _hosted.code = run()
    finally:
        logging.getLogger().removeHandler(events)
        _tell_end(_hosted.code, said.text)
        _hosted.ended.set()
        dispatcher.join(_CONNECT_S)
    return _hosted.code


def _dispatch() -> None:
    try:
        dispatch: Callable[[], object] = servicemanager.StartServiceCtrlDispatcher
        dispatch()
    except pywintypes.error as exc:
        _hosted.refused = exc
        _hosted.connected.set()


def _tell_end(code: int, said: str) -> None:
    if code == 0:
        _say(servicemanager.LogInfoMsg, f"{DISPLAY_NAME} has stopped; all load is released.")
        return
    after = "It is not restarted." if ends_for_good(code) else "It is restarted."
    _say(
        servicemanager.LogErrorMsg,
        f"{DISPLAY_NAME} has ended with exit code {code}. {after}\n{said}",
    )


def _say(report: Callable[[str], object], text: str) -> None:
    try:
        report(text[:_TEXT_CHARS])
    except pywintypes.error:
        return  # a full event log must not end the daemon
