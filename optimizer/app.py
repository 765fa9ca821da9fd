"""The composition root: builds the daemon; the only file that knows every adapter."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from optimizer.adapters import mark, platform
from optimizer.adapters.clock import WakeableClock
from optimizer.adapters.cpu_scope import CapacityWatch
from optimizer.adapters.glances import GlancesWeb
from optimizer.adapters.history import SqliteHistory
from optimizer.adapters.identity import identify
from optimizer.adapters.idle_group import SOCKET_VARIABLE, IdleGroup
from optimizer.adapters.instance_lock import InstanceLock, holder
from optimizer.adapters.job_object import COST as JOB_COST
from optimizer.adapters.job_object import enter_job
from optimizer.adapters.memory_scope import MemoryScope
from optimizer.adapters.mountinfo import MountTable
from optimizer.adapters.orphans import Orphans
from optimizer.adapters.roster import ROSTER_NAME, Listed, Roster
from optimizer.adapters.self_limits import SelfLimits, no_core_dumps
from optimizer.adapters.sensors import HostSensors
from optimizer.adapters.status_file import StatusFile
from optimizer.adapters.steady import steady_s
from optimizer.adapters.stresser_pool import StresserPool
from optimizer.adapters.switch import FileSwitch
from optimizer.adapters.systemd_notify import SystemdNotify
from optimizer.atomic import sweep
from optimizer.control.brake import OwnHours, known_until, midnight
from optimizer.derive import Machine, derive, kept_days, look
from optimizer.directories import (
    HISTORY_NAME,
    LOCK_NAME,
    STATUS_NAME,
    TEXT_NAME,
    Directories,
)
from optimizer.errors import HistoryError
from optimizer.loop import EXIT_FAILED, Daemon
from optimizer.maintenance import MaintenanceSwitch
from optimizer.orders import Maintenance
from optimizer.outcome import Event
from optimizer.ports import Log, Ports
from optimizer.publish import Publisher
from optimizer.report.status import Host, Surroundings
from optimizer.settings import Loaded, Settings, SettingsWatch
from optimizer.upkeep import Derived, Upkeep, disk_arguments, memory_arguments

DETAIL_CHARS = 300
"""Longest detail of an event that is kept; the log has the whole of it."""
ORDER_WRITTEN_S = 60.0
"""A command that pauses has written its file within this time, or it was killed."""
GROUP_REMOVE_S = 0.5
"""How long the end waits for the workers' group to be empty."""


def run(
    loaded: Loaded,
    directories: Directories,
    *,
    watch: SettingsWatch,
    log: Log,
    announce: Callable[[Machine, Derived], None],
    page: bool = True,
) -> int:
    """Run the daemon until a signal ends it; the exit code.

    `watch` tells of changes of the configuration `loaded`; `announce` is told
    what will be held, just before anything is; without `page` the web page is
    a unit of its own. Raises AlreadyRunningError and
    HistoryError before anything is touched.
    """
    lock = InstanceLock(directories.runtime / LOCK_NAME)
    lock.acquire()
    mark.set_mark(
        {
            "state": str(directories.state),
            "runtime": str(directories.runtime),
            "log": str(directories.log),
        }
    )
    try:
        with WakeableClock() as clock:
            return _run_locked(loaded, directories, clock, watch, log, announce, own_page=page)
    finally:
        lock.release()


def _run_locked(
    loaded: Loaded,
    directories: Directories,
    clock: WakeableClock,
    watch: SettingsWatch,
    log: Log,
    announce: Callable[[Machine, Derived], None],
    *,
    own_page: bool,
) -> int:
    settings, runtime = loaded.settings, directories.runtime
    _prepare(directories, clock, log)
    machine = look(settings)
    holding = holder(directories.runtime / LOCK_NAME)
    history = SqliteHistory(
        directories.state / HISTORY_NAME, period_days=settings.monitor_period_days, log=log
    )
    capacity = CapacityWatch(settings.cpu_scope, host=settings.host_proc)
    mounts = MountTable()
    memory_scope = MemoryScope(settings.memory_scope)
    sensors = HostSensors(host=settings.host_proc, capacity=capacity, scope=memory_scope)
    page = _web_page(settings, runtime, log, own=own_page)
    roster = Roster(runtime / ROSTER_NAME, log)

    def applied(derived: Derived) -> None:
        capacity.scope = derived.cpu_scope
        memory_scope.scope = derived.memory_scope
        sensors.disks.watch(derived.scope.places)
        history.set_period(kept_days(derived))

    upkeep = Upkeep(
        loaded,
        watch=watch,
        page=page,
        derive=lambda changed, scope: derive(changed, look(changed), scope),
        applied=applied,
        monotonic=clock.monotonic,
        log=log,
        disks_moved=lambda: mounts.changed() or sensors.disks.moved,
        noted=lambda kind, detail: history.note(
            Event(utc_s=clock.utc(), kind=kind, detail=detail[:DETAIL_CHARS])
        ),
    )
    switch = MaintenanceSwitch(
        FileSwitch(directories.state, steady=steady_s),
        lambda: upkeep.loaded.settings.maintenance_windows or (),
    )
    limits = SelfLimits(disks=lambda: len(upkeep.scope.places))
    notify = SystemdNotify(os.environ, log=log)
    orphans = Orphans()

    def tend() -> None:
        upkeep.tend()
        orphans.reap()
        enrol_page(roster, page)
        group.reconsider(pool.states().cpu.missing, clock.monotonic())
        if not within(limits, log):
            daemon.stop(EXIT_FAILED)

    group = IdleGroup(log=log, socket=os.environ.get(SOCKET_VARIABLE))
    group.make()
    pool = StresserPool(
        cpus=lambda: capacity.capacity.workers,
        memory=lambda: memory_arguments(upkeep.derived),
        disk=lambda: disk_arguments(upkeep.derived),
        cpu_group=group.arguments,
        stirs=clock.call,
        cpu_scale=lambda: capacity.capacity.capacity_cpus / capacity.capacity.workers,
        cpu_room=lambda: (capacity.capacity, group.turn),
        enrol=lambda listed: roster.show("stressers", listed),
        kill_group=group.kill,
        hurry=group.hurry,
        log=log,
    )
    publisher = Publisher(
        host=host_facts(machine, clock.utc(), holding.boot_id if holding else None),
        around=lambda: _surroundings(
            upkeep, page, directories, capacity, switch.maintenance(clock.utc())
        ),
        store=StatusFile(runtime / STATUS_NAME, runtime / TEXT_NAME),
        log=log,
        show=notify.show,
    )
    daemon = Daemon(
        Ports(
            clock=clock,
            sensors=sensors,
            actuators=pool,
            history=history,
            switch=switch,
            notifier=publisher,
            log=log,
        ),
        settled=upkeep.settled,
        disk_reason=upkeep.disk_reason,
        tend=tend,
        verified=notify.verified,
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
    enrol_page(roster, page)
    try:
        return daemon.run()
    finally:
        notify.close()
        group.remove(GROUP_REMOVE_S)
        page.stop(1.0)
        enrol_page(roster, page)
        roster.close()
        sensors.close()
        mounts.close()
        history.close()
        _take_down(runtime, log)


def _prepare(directories: Directories, clock: WakeableClock, log: Log) -> None:
    """What this process needs before anything is read: its class, its limits, a tidy house."""
    no_core_dumps()
    denied = platform.wait_for_others()
    if denied is not None:
        log.warning(
            "batch_class.denied",
            cause=denied,
            cost="the controller may delay a request of the tenant by half a millisecond",
        )
    jobless = enter_job()
    if jobless is not None:
        log.warning("job.denied", cause=jobless, cost=JOB_COST)
    sweep(directories.runtime)
    sweep(directories.state, before_utc_s=clock.utc() - ORDER_WRITTEN_S)


def _web_page(settings: Settings, runtime: Path, log: Log, *, own: bool) -> GlancesWeb:
    return GlancesWeb(
        enabled=settings.glances_enabled,
        bind=settings.glances_bind,
        port=settings.glances_port,
        refresh_s=settings.glances_refresh_interval,
        password=settings.glances_password,
        runtime=runtime,
        status_text=runtime / TEXT_NAME,
        log=log,
        apart=not own,
    )


def _take_down(runtime: Path, log: Log) -> None:
    """Remove what only tells of a daemon that runs."""
    for name in (STATUS_NAME, TEXT_NAME):
        try:
            (runtime / name).unlink(missing_ok=True)
        except OSError as exc:  # a filesystem that has become read-only
            log.warning("status.left_behind", path=str(runtime / name), cause=str(exc))


def enrol_page(roster: Roster, page: GlancesWeb) -> None:
    """Let the roster name the web page's process, if there is one."""
    who = None if page.pid is None else identify(page.pid, parent=os.getpid())
    roster.show("page", () if who is None else (Listed(who, "page", None),))


def within(limits: SelfLimits, log: Log) -> bool:
    """Whether the daemon uses no more than it may; says so if not."""
    excess = limits.excess()
    if excess is not None:
        remedy = "a fault of ours: report it with the log; a service manager starts us anew"
        log.error("daemon.limit_exceeded", **excess._asdict(), remedy=remedy)
    return excess is None


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
    upkeep: Upkeep,
    page: GlancesWeb,
    directories: Directories,
    capacity: CapacityWatch,
    maintenance: Maintenance,
) -> Surroundings:
    state, rejected = page.state(), upkeep.rejected
    file: Path | None = upkeep.loaded.file
    return Surroundings(
        interval_s=upkeep.settled().interval_s,
        period_days=upkeep.settled().period_days,
        disk_note=upkeep.scope.note,
        cpu=capacity.capacity,
        maintenance=maintenance,
        history_path=str(directories.state / HISTORY_NAME),
        glances_state=state.state,
        glances_url=state.url,
        glances_message=state.message,
        config_file=None if file is None else str(file),
        config_ok=rejected is None,
        config_message="" if rejected is None else str(rejected),
        warnings=upkeep.loaded.warnings,
    )
