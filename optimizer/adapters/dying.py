"""Stressers that were ended and may still be there: looked at, killed again, never waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from optimizer.adapters.stresser_process import StresserProcess
from optimizer.model import Resource
from optimizer.ports import Log

AGAIN_S = 1.0
"""What is still there after so long is killed again, by every means."""
ALARM_S = 5.0
"""After so long a person is told, once: only the kernel can keep a killed process so long."""

_LATE_S = 2.0


class Dying:
    """Keeps those that were ended until the kernel says that they are gone.

    `kill_group` ends all that is left in the control group of the CPU workers.
    No other one is started in the place of one that is here.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        kill_group: Callable[[], None],
        log: Log | None,
    ) -> None:
        self._monotonic = monotonic
        self._kill_group = kill_group
        self._log = log
        self._since_s: dict[StresserProcess, float] = {}
        self._told: set[StresserProcess] = set()

    def __iter__(self) -> Iterator[StresserProcess]:
        return iter(self._since_s)

    def __len__(self) -> int:
        return len(self._since_s)

    def end(self, process: StresserProcess) -> None:
        """Kill it and its workers, and look after them from now on."""
        process.kill()
        self._since_s[process] = self._monotonic()

    def bury(self) -> list[StresserProcess]:
        """Those that have gone since last asked; the others are killed again when it is time."""
        now_s = self._monotonic()
        gone = [process for process in self._since_s if process.gone()]
        for process in gone:
            del self._since_s[process]
            self._told.discard(process)
        for process, since_s in self._since_s.items():
            if now_s - since_s >= AGAIN_S:
                process.kill_again()
                if process.resource is Resource.CPU:
                    self._kill_group()
            if now_s - since_s >= ALARM_S and process not in self._told:
                self._told.add(process)
                self._tell(process, now_s - since_s)
        return gone

    def linger(self, resource: Resource, path: str | None) -> bool:
        """Whether one is still there whose place another one would take."""
        return any(one.resource is resource and one.path == path for one in self._since_s)

    def stuck(self, resource: Resource) -> str | None:
        """What to say of those of one resource that outlive a kill; None when none does."""
        now_s = self._monotonic()
        pids = [
            pid
            for process, since_s in self._since_s.items()
            if process.resource is resource and now_s - since_s >= AGAIN_S
            for pid in process.left()
        ]
        if not pids:
            return None
        return f"killed, but still there: {', '.join(map(str, pids))}; none is started meanwhile"

    def untold(self) -> tuple[str, ...]:
        """Those that should have gone by now and of whom nobody was told, for nobody has looked."""
        now_s = self._monotonic()
        return tuple(
            f"{process.resource.value} stresser {process.pid} was ended {now_s - since_s:.0f} s ago"
            for process, since_s in self._since_s.items()
            if process not in self._told and now_s - since_s > ALARM_S + _LATE_S
        )

    def _tell(self, process: StresserProcess, for_s: float) -> None:
        if self._log is None:
            return
        left = process.left()
        self._log.error(
            "stresser.outlived_kill",
            resource=process.resource.value,
            path=process.path,
            pids=list(left),
            states=list(left.values()),
            for_s=round(for_s, 1),
            cost="none is started in its place until it has gone",
            remedy="state D: a filesystem or disk hangs, see `dmesg`; else "
            "`python3 recover/recover_system.py`",
        )
