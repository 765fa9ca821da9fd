"""Every error that crosses a room's door, and when it is raised."""

from __future__ import annotations


class OptimizerError(Exception):
    """Root of all errors that the program raises on purpose."""


class ConfigError(OptimizerError):
    """The configuration has faults; raised once, with all of them.

    `faults` holds one message per fault; each names the key, the value, where
    the value came from, and what to write instead.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


class AlreadyRunningError(OptimizerError):
    """Another daemon holds the instance lock; the message names it."""


class HistoryError(OptimizerError):
    """The history cannot be opened, read or written; the cause is chained."""


class BackupError(OptimizerError):
    """A backup cannot be made, read or put back; the message names what to do."""


class SwitchError(OptimizerError):
    """The inhibit file cannot be written or removed; the cause is chained."""


class ServiceError(OptimizerError):
    """The service cannot be installed, removed, started or stopped; the message names why."""


class TraceError(OptimizerError):
    """A trace for the simulator cannot be used; the message names line, value and remedy."""


class SourceError(OptimizerError):
    """History cannot be taken from a source; the message names it, the value and the remedy."""


class OutputError(OptimizerError):
    """The standard output cannot be written; the cause is chained, a BrokenPipeError too."""
