"""What is in force, and what is looked after every few seconds: reload, mounts, web page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from optimizer.control.disks import Scope
from optimizer.counters import CapacityScope
from optimizer.errors import ConfigError
from optimizer.model import Reason
from optimizer.orders import Settled
from optimizer.outcome import EventKind
from optimizer.ports import Log
from optimizer.settings import Loaded, Settings

SCAN_S = 15.0
"""How often the mount table is read again, for the kernel does not tell of all changes."""
NEEDS_RESTART = (
    "workspace_dir",
    "log_dir",
    "config_dir",
    "log_level",
    "log_max_mb",
    "log_total_mb",
    "log_keep_days",
    "glances_enabled",
    "glances_bind",
    "glances_port",
    "glances_password",
    "glances_refresh_interval",
    "platform",
    "host_proc",
)
"""Settings that are read once, at the start."""


class Watch(Protocol):
    """Tells when the configuration file has changed."""

    def poll(self) -> Loaded | ConfigError | None:
        """The new configuration, its faults, or None when nothing has changed."""
        ...


class Page(Protocol):
    """The web page's process."""

    def poll(self) -> None:
        """Start it again when it has ended; never waits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What the settings mean on this host."""

    settled: Settled
    scope: Scope
    cpu_scope: CapacityScope = CapacityScope.AUTO
    memory_scope: CapacityScope = CapacityScope.AUTO
    memory_shards: int = 4
    disk_allowed: frozenset[str] = frozenset()


def memory_arguments(derived: Derived) -> tuple[str, ...]:
    """What a memory stresser is told at its start: how many shards, and which kind of memory."""
    metric = derived.settled.policy.memory_metric.value
    return ("--shards", str(derived.memory_shards), "--metric", metric)


def disk_arguments(derived: Derived) -> tuple[str, ...]:
    """What each disk stresser is told beside its path: which odd filesystems are allowed."""
    return ("--allow", ",".join(sorted(derived.disk_allowed))) if derived.disk_allowed else ()


class Upkeep:
    """Holds the configuration in force; a reload replaces it whole or not at all.

    `derive` works out what settings mean on this host, given the filesystems
    in force before; `applied` hands the result to the adapters that keep a copy.
    `disks_moved` tells that a filesystem has come or gone: the table is read at once.
    `noted` is told of a reload, with its details, and of one that was refused.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        watch: Watch,
        page: Page,
        derive: Callable[[Settings, Scope | None], Derived],
        applied: Callable[[Derived], None],
        monotonic: Callable[[], float],
        log: Log,
        disks_moved: Callable[[], bool] = lambda: False,
        noted: Callable[[EventKind, str], object] = lambda _kind, _detail: None,
    ) -> None:
        self._disks_moved = disks_moved
        self._noted = noted
        self.loaded = loaded
        self.rejected: ConfigError | None = None
        self._watch = watch
        self._page = page
        self._derive = derive
        self._applied = applied
        self._monotonic = monotonic
        self._log = log
        self.derived = derive(loaded.settings, None)
        self._scan_due_s = monotonic() + SCAN_S
        applied(self.derived)

    def settled(self) -> Settled:
        """The configuration in force, as the loop wants it."""
        return self.derived.settled

    @property
    def scope(self) -> Scope:
        """The filesystems in force."""
        return self.derived.scope

    def disk_reason(self) -> Reason | None:
        """Why there is no disk to hold; None when there is one."""
        return self.derived.scope.reason

    def tend(self) -> None:
        """Look after everything that is neither control nor record; never waits."""
        self._page.poll()
        news = self._watch.poll()
        if isinstance(news, ConfigError):
            self.rejected = news
            self._log.error(
                EventKind.REJECTED.value,
                faults=list(news.faults),
                kept="the last good configuration",
            )
            self._noted(EventKind.REJECTED, news.faults[0])
        elif news is not None:
            self._reload(news)
        if self._monotonic() >= self._scan_due_s or self._disks_moved():
            self._apply(self._derive(self.loaded.settings, self.scope))

    def _reload(self, loaded: Loaded) -> None:
        before, after = self.loaded.settings, loaded.settings
        changed = [
            name for name in after.__slots__ if getattr(before, name) != getattr(after, name)
        ]
        self.rejected = None
        self.loaded = loaded
        self._apply(self._derive(after, self.scope))
        names = [name.upper() for name in changed]
        self._noted(EventKind.RELOADED, ", ".join(names) or "nothing changed")
        self._log.info(
            EventKind.RELOADED.value,
            changed=names,
            needs_restart=[name.upper() for name in changed if name in NEEDS_RESTART],
        )

    def _apply(self, derived: Derived) -> None:
        self._scan_due_s = self._monotonic() + SCAN_S
        if derived.scope != self.derived.scope:
            self._log.info(
                "disk.scope_changed",
                places=[place.path for place in derived.scope.places],
                note=derived.scope.note,
            )
        self.derived = derived
        self._applied(derived)
