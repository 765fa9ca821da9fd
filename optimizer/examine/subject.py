"""What is examined: the configuration as far as it is good, and the files of which daemon."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.adapters import status_file
from optimizer.adapters.steady import steady_s
from optimizer.adapters.switch import FileSwitch
from optimizer.directories import LOCK_NAME, STATUS_NAME, Directories
from optimizer.errors import OptimizerError
from optimizer.maintenance import MaintenanceSwitch
from optimizer.settings import Loaded, Settings

if TYPE_CHECKING:
    from optimizer.adapters.instance_lock import Holder

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the program that runs this."""
ROOT = PACKAGE.parent
"""The checkout, or the folder of installed packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The daemon that is examined: its configuration and directories.

    `faults` and `unread` are as in Salvaged. `status` is its status document,
    empty where it has none; `age_s` how old that is. `holder` has its pid,
    None where no daemon runs; `unseen` why that cannot be told.
    """

    loaded: Loaded
    directories: Directories
    faults: tuple[str, ...] = ()
    unread: str | None = None
    holder: Holder | None = None
    unseen: str | None = None
    status: dict[str, Any] = field(default_factory=dict)
    now_utc_s: float = field(default_factory=time.time)

    @property
    def settings(self) -> Settings:
        """The configuration as far as it is good."""
        return self.loaded.settings

    @property
    def pid(self) -> int | None:
        """The daemon's process, None where none runs or its lock does not say."""
        return None if self.holder is None else self.holder.pid

    @property
    def age_s(self) -> float | None:
        """How old the status is, None where there is none."""
        updated = self.status.get("updated_utc_s")
        return self.now_utc_s - updated if isinstance(updated, int | float) else None

    def switch(self) -> MaintenanceSwitch:
        """The orders in the files, and the maintenance windows of the configuration."""
        windows = self.settings.maintenance_windows or ()
        return MaintenanceSwitch(
            FileSwitch(self.directories.state, steady=steady_s), lambda: windows
        )

    def live_status(self, most_s: float) -> dict[str, Any] | None:
        """The status of a daemon that runs and has written it within that time."""
        age_s = self.age_s
        fresh = self.holder is not None and age_s is not None and abs(age_s) <= most_s
        return self.status if fresh and "resources" in self.status else None


def whose(own: Directories, system: Directories) -> Directories:
    """Those of the daemon to examine: our own, else the system's where only that one runs."""
    if look(own)[0] is None and look(system)[0] is not None:
        return system
    return own


def look(directories: Directories) -> tuple[Holder | None, str | None]:
    """Who holds the lock, and why that cannot be told."""
    try:
        # Needs a library on some systems, and this must run where it is missing.
        from optimizer.adapters.instance_lock import holder  # noqa: PLC0415 - see above

        return holder(directories.runtime / LOCK_NAME), None
    except (ImportError, OptimizerError) as exc:
        return None, str(exc)


def status_of(directories: Directories) -> dict[str, Any]:
    """The status document; empty where there is none that can be read."""
    return dict(status_file.read(directories.runtime / STATUS_NAME) or {})
