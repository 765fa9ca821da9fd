"""The composition root: builds the daemon; the only file that knows every adapter."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optimizer.adapters import platform
from optimizer.adapters.clock import WakeableClock
from optimizer.adapters.cpu_scope import CapacityWatch
from optimizer.adapters.glances import GlancesWeb
from optimizer.adapters.history import SqliteHistory
from optimizer.adapters.idle_group import IdleGroup
from optimizer.adapters.instance_lock import Holder, InstanceLock, holder
from optimizer.adapters.sensors import HostSensors
from optimizer.adapters.status_file import StatusFile
from optimizer.adapters.stresser_pool import StresserPool
from optimizer.adapters.switch import FileSwitch
from optimizer.control.brake import OwnHours, known_until, midnight
from optimizer.control.disks import Scope, choose, eligible, keep
from optimizer.control.host import class_target_ratio, host_class, nominal_memory_gb, targets
from optimizer.directories import Directories
from optimizer.errors import HistoryError
from optimizer.loop import Daemon, Ports, Settled
from optimizer.model import Floor, HostClass, PerResource, Policy, Reason
from optimizer.ports import Log
from optimizer.publish import Publisher
from optimizer.report.status import Host, Surroundings
from optimizer.settings import Loaded, Settings, SettingsWatch
from optimizer.upkeep import Derived, Upkeep

STATUS_NAME = "status.json"
TEXT_NAME = "status.txt"
HISTORY_NAME = "history.sqlite3"
LOCK_NAME = "lock"
CPU_RISE_PER_S = 4.0
"""Share of the host's CPU by which the demand may rise in a second.

The kernel gives way to the tenant at any moment, so this only keeps a wrong
reading from becoming a full load at once.
"""
MEMORY_FLOOR = Floor(ratio=0.05, least_bytes=512 * 2**20)
DISK_FLOOR = Floor(ratio=0.10, least_bytes=2 * 2**30)
GROUP_REMOVE_S = 0.5
"""How long the end waits for the workers' group to be empty."""
_MB = float(2**20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The host as found at the start."""

    platform: str
    nominal_memory_gb: float
    host_class: HostClass
    cpus: int


def look(settings: Settings) -> Machine:
    """What machine this is, and which class the settings put it in."""
    visible_bytes, block_bytes = platform.memory_sizes()
    nominal_gb = nominal_memory_gb(visible_bytes=visible_bytes, block_bytes=block_bytes)
    return Machine(
        platform=platform.platform_name(settings.platform),
        nominal_memory_gb=nominal_gb,
        host_class=host_class(
            nominal_gb,
            small_max_gb=settings.small_memory_max,
            large_min_gb=settings.large_memory_min,
        ),
        cpus=os.cpu_count() or 1,
    )


def derive(settings: Settings, machine: Machine, previous: Scope | None = None) -> Derived:
    """What the settings mean on this machine: targets, limits, filesystems."""
    policy = Policy(
        target=_targets(settings, machine),
        ceiling=PerResource(
            cpu=settings.cpu_ceiling / 100,
            memory=settings.memory_ceiling / 100,
            disk=settings.disk_ceiling / 100,
        ),
        memory_floor=MEMORY_FLOOR,
        disk_floor=DISK_FLOOR,
        cpu_rise_per_s=CPU_RISE_PER_S,
        memory_rise_bytes_per_s=settings.memory_rise_mb_per_minute * _MB / 60,
        disk_rise_bytes_per_s=settings.disk_rise_mb_per_second * _MB,
        memory_metric=settings.memory_metric,
        count_steal=settings.cpu_count_steal,
        steal_max_ratio=settings.cpu_steal_max / 100,
        own_hours_max=settings.cpu_own_hours_max or None,
        hold_off_s=settings.hold_off_seconds,
    )
    settled = Settled(
        policy=policy,
        interval_s=settings.check_interval_seconds,
        period_days=settings.monitor_period_days,
    )
    return Derived(
        settled=settled, scope=disk_scope(settings, previous), cpu_scope=settings.cpu_scope
    )


def disk_scope(settings: Settings, previous: Scope | None) -> Scope:
    """Which filesystems count, and where space is held; where it was held before if possible."""
    path = settings.disk_stress_path
    if path is not None and not path.is_dir():
        note = f"DISK_STRESS_PATH={path} is no directory; make it, or mount the disk that has it."
        return Scope(mounts=(), hold_path=None, reason=Reason.NO_DISK, note=note)
    mounts = platform.mounts()
    candidates = () if path is not None else eligible(mounts)
    chosen = choose(
        mounts,
        data_disk_only=settings.data_disk_only,
        stress_path=None if path is None else platform.resolved(path),
        usage=platform.available_bytes(mount.mount for mount in candidates),
    )
    return chosen if previous is None else keep(chosen, previous)


def running(directories: Directories) -> Holder | None:
    """The daemon that runs on these directories now, None if there is none."""
    return holder(directories.runtime / LOCK_NAME)


def run(
    loaded: Loaded,
    directories: Directories,
    *,
    watch: SettingsWatch,
    log: Log,
    announce: Callable[[Machine, Derived], None],
) -> int:
    """Run the daemon until a signal ends it; the exit code.

    `watch` tells of changes of the configuration `loaded`; `announce` is told
    what will be held, just before anything is. Raises AlreadyRunningError and
    HistoryError before anything is touched.
    """
    lock = InstanceLock(directories.runtime / LOCK_NAME)
    lock.acquire()
    try:
        with WakeableClock() as clock:
            return _run_locked(loaded, directories, clock, watch, log, announce)
    finally:
        lock.release()


def _run_locked(
    loaded: Loaded,
    directories: Directories,
    clock: WakeableClock,
    watch: SettingsWatch,
    log: Log,
    announce: Callable[[Machine, Derived], None],
) -> int:
    settings = loaded.settings
    machine = look(settings)
    holding = running(directories)
    runtime = directories.runtime
    history = SqliteHistory(
        directories.state / HISTORY_NAME, period_days=settings.monitor_period_days, log=log
    )
    capacity = CapacityWatch(settings.cpu_scope)
    sensors = HostSensors(disk_mounts=(), capacity=capacity)
    page = GlancesWeb(
        enabled=settings.glances_enabled,
        bind=settings.glances_bind,
        port=settings.glances_port,
        refresh_s=settings.glances_refresh_interval,
        password=settings.glances_password,
        runtime=runtime,
        status_text=runtime / TEXT_NAME,
        log=log,
    )

    def applied(derived: Derived) -> None:
        capacity.scope = derived.cpu_scope
        sensors.watch_disks(derived.scope.mounts)
        history.set_period(int(derived.settled.period_days))

    upkeep = Upkeep(
        loaded,
        watch=watch,
        page=page,
        derive=lambda changed, scope: derive(changed, look(changed), scope),
        applied=applied,
        monotonic=clock.monotonic,
        log=log,
    )
    group = IdleGroup(log=log)
    group.make()
    pool = StresserPool(
        cpus=lambda: capacity.capacity.workers,
        disk_path=upkeep.hold_path,
        cpu_group=group.directory,
        stirs=clock.call,
        cpu_scale=lambda: capacity.capacity.capacity_cpus / capacity.capacity.workers,
        cpu_room=lambda: capacity.capacity,
    )
    publisher = Publisher(
        host=host_facts(machine, clock.utc(), holding.boot_id if holding else None),
        around=lambda: _surroundings(upkeep, page, directories, capacity),
        store=StatusFile(runtime / STATUS_NAME, runtime / TEXT_NAME),
        log=log,
    )
    daemon = Daemon(
        Ports(
            clock=clock,
            sensors=sensors,
            actuators=pool,
            history=history,
            switch=FileSwitch(directories.state),
            notifier=publisher,
            log=log,
        ),
        settled=upkeep.settled,
        disk_reason=upkeep.disk_reason,
        tend=upkeep.tend,
        own_hours=own_hours(
            history,
            clock.utc(),
            capacity.capacity.capacity_cpus,
            log,
            limited=upkeep.derived.settled.policy.own_hours_max is not None,
        ),
    )
    _obey_signals(daemon, watch)
    announce(machine, upkeep.derived)
    page.start()
    try:
        return daemon.run()
    finally:
        group.remove(GROUP_REMOVE_S)
        page.stop(1.0)
        sensors.close()
        history.close()
        for name in (STATUS_NAME, TEXT_NAME):
            (runtime / name).unlink(missing_ok=True)


def _targets(settings: Settings, machine: Machine) -> PerResource[float]:
    class_ratio = class_target_ratio(
        machine.nominal_memory_gb,
        small_max_gb=settings.small_memory_max,
        large_min_gb=settings.large_memory_min,
        small_ratio=settings.target_utilization_small / 100,
        large_ratio=settings.target_utilization_large / 100,
        medium_ratio=_ratio(settings.medium_target),
    )
    overrides = PerResource(
        cpu=_ratio(settings.target_cpu),
        memory=_ratio(settings.target_memory),
        disk=_ratio(settings.target_disk),
    )
    return targets(class_ratio, overrides)


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def own_hours(
    history: SqliteHistory, utc_s: float, capacity_cpus: float, log: Log, *, limited: bool
) -> OwnHours:
    """What was used on this UTC day before this start, as far as the history tells.

    Its rows are shares of the capacity of their time, in CPUs; that is not
    recorded, so the present `capacity_cpus` stands for it. What is not known
    counts from the start on, with a warning where it matters.
    """
    ratio_s, cause = None, "the history is new"
    try:
        ratio_s = history.own_cpu_ratio_s(midnight(utc_s), utc_s)
    except HistoryError as exc:
        cause = str(exc)
    if ratio_s is None and limited:
        log.warning(
            "own_hours.unknown", cause=cause, remedy="CPU_OWN_HOURS_MAX counts from this start on"
        )
    return known_until(utc_s, (ratio_s or 0.0) * capacity_cpus)


def _obey_signals(daemon: Daemon, watch: SettingsWatch) -> None:
    stops = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        stops.append(signal.SIGBREAK)
    else:
        at_terminal = os.isatty(0)

        def hung_up(*_: object) -> None:
            # A terminal that is gone cannot stop us any more; without one SIGHUP means reload.
            if at_terminal and not os.isatty(0):
                daemon.stop()
            else:
                watch.force()

        signal.signal(signal.SIGHUP, hung_up)
    for number in stops:
        signal.signal(number, lambda *_: daemon.stop())


def host_facts(machine: Machine, started_utc_s: float, boot_id: str | None = None) -> Host:
    """What the status document says of the host and this process."""
    return Host(
        pid=os.getpid(),
        boot_id=boot_id,
        started_utc_s=started_utc_s,
        platform=machine.platform,
        host_class=machine.host_class,
        nominal_memory_gb=machine.nominal_memory_gb,
        cpus=machine.cpus,
    )


def _surroundings(
    upkeep: Upkeep, page: GlancesWeb, directories: Directories, capacity: CapacityWatch
) -> Surroundings:
    state, rejected = page.state(), upkeep.rejected
    file: Path | None = upkeep.loaded.file
    return Surroundings(
        interval_s=upkeep.settled().interval_s,
        period_days=upkeep.settled().period_days,
        disk_note=upkeep.scope.note,
        cpu=capacity.capacity,
        history_path=str(directories.state / HISTORY_NAME),
        glances_state=state.state,
        glances_url=state.url,
        glances_message=state.message,
        config_file=None if file is None else str(file),
        config_ok=rejected is None,
        config_message="" if rejected is None else str(rejected),
        warnings=upkeep.loaded.warnings,
    )
