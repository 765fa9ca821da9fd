"""`optimizer plan`: a dry run; what the daemon does or would do now, in sentences."""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.cli.common import (
    EXIT_OK,
    Configured,
    configured,
    running,
    say_faults,
    where_running,
)
from optimizer.cli.common import define as define_common
from optimizer.cli.status import STALE_S
from optimizer.directories import HISTORY_NAME, STATUS_NAME
from optimizer.errors import ConfigError, OptimizerError

if TYPE_CHECKING:
    from optimizer.model import PerResource
    from optimizer.orders import Settled
    from optimizer.outcome import Outlook

MEASURE_S = 2.0
STEP_S = 0.1


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Print what is done and why; starts nothing and changes nothing."""
    from optimizer.control.promise import promise
    from optimizer.derive import derive, look
    from optimizer.report.explain import Pace, sentences

    try:
        found = configured(args)
    except ConfigError as exc:
        return say_faults(exc)
    policy = derive(found.loaded.settings, look(found.loaded.settings)).settled.policy
    pace = Pace(
        memory_bytes_per_s=policy.memory_rise_bytes_per_s,
        disk_bytes_per_s=policy.disk_rise_bytes_per_s,
    )
    status, source = _running_status(found) or (measured_status(found), _DRY)
    print(
        f"{source} {status['platform']}, {status['cpus']} CPUs, "
        f"{status['nominal_memory_gb']:g} GB: a {status['host_class']} host."
    )
    for line in sentences(status, pace):
        print(f"- {line}")
    print(f"Aim: {status.get('aim') or promise(policy)}.")
    return EXIT_OK


_DRY = f"Dry run, measured for {MEASURE_S:g} s:"


def _running_status(found: Configured) -> tuple[dict[str, Any], str] | None:
    """The document of the daemon that runs; measuring beside it would count its load as tenant."""
    from optimizer.adapters import status_file

    places = where_running(found.directories)
    if running(places) is None:
        return None
    status = status_file.read(places.runtime / STATUS_NAME)
    if status is None:
        raise OptimizerError("a daemon runs but has written no status yet; try again in a second")
    age_s = time.time() - float(str(status.get("updated_utc_s") or 0.0))
    if abs(age_s) > STALE_S:
        raise OptimizerError(
            f"the daemon (pid {status['pid']}) has written nothing for {age_s:.0f} s: it hangs "
            "or is stopped; see `optimizer status`"
        )
    return status, f"The daemon (pid {status['pid']}) runs:"


def measured_status(found: Configured) -> dict[str, Any]:
    """The document that a daemon without any load of its own would write."""
    from optimizer import app
    from optimizer.adapters.cpu_scope import CapacityWatch
    from optimizer.adapters.memory_scope import MemoryScope
    from optimizer.adapters.sensors import HostSensors
    from optimizer.adapters.steady import steady_s
    from optimizer.adapters.switch import FileSwitch
    from optimizer.control.decide import ControlState, decide
    from optimizer.control.estimate import estimate
    from optimizer.counters import OwnCounters, Reading
    from optimizer.derive import derive, look
    from optimizer.maintenance import MaintenanceSwitch
    from optimizer.model import Observation, PerResource
    from optimizer.orders import Orders
    from optimizer.outcome import CycleReport, StresserState, levels
    from optimizer.report.status import Surroundings, document

    settings = found.loaded.settings
    machine = look(settings)
    derived = derive(settings, machine)
    capacity = CapacityWatch(settings.cpu_scope, host=settings.host_proc)
    scope = MemoryScope(settings.memory_scope)
    sensors = HostSensors(
        derived.scope.places, host=settings.host_proc, capacity=capacity, scope=scope
    )
    nothing = Observation(own=OwnCounters())
    outlooks = _planned(derived.settled, found.directories.state / HISTORY_NAME)
    orders = Orders(
        policy=derived.settled.policy,
        inhibit=MaintenanceSwitch(
            FileSwitch(found.directories.state, steady=steady_s),
            lambda: settings.maintenance_windows or (),
        ).inhibit(time.time()),
        disk_reason=derived.scope.reason,
        setpoints=levels(outlooks),
    )
    state = ControlState()
    first = reading = Reading(host=sensors.read(), own=nothing.own)
    verdict = decide(state, reading, nothing, orders)
    while reading.host.monotonic_s - first.host.monotonic_s < MEASURE_S:
        time.sleep(STEP_S)
        reading = Reading(host=sensors.read(), own=nothing.own)
        verdict = decide(verdict.state, reading, nothing, orders)
    sensors.close()
    none = StresserState()
    report = CycleReport(
        utc_s=time.time(),
        cycle_count=0,
        recent=estimate(first, reading, orders.policy),
        sample=None,
        plan=verdict.plan,
        orders=orders,
        stressers=PerResource(cpu=none, memory=none, disk=none),
        means=None,
        sensor_failures=reading.host.failures,
        reading=reading,
        outlooks=outlooks,
    )
    around = Surroundings(
        interval_s=derived.settled.interval_s,
        period_days=derived.settled.period_days,
        disk_note=derived.scope.note,
        cpu=capacity.capacity,
        history_path=str(found.directories.state / HISTORY_NAME),
        glances_state="off",
        glances_url=None,
        glances_message="",
        config_file=None if found.loaded.file is None else str(found.loaded.file),
        config_ok=True,
        config_message="",
        warnings=found.loaded.warnings,
    )
    return document(report, app.host_facts(machine, time.time()), around)


def _planned(settled: Settled, history: Path) -> PerResource[Outlook]:
    """What the planner wants, by the history that a daemon has left; without one nothing is known.

    One that cannot be read is as none: `optimizer doctor` says what is wrong with it.
    """
    from optimizer.adapters.history_reading import read_past
    from optimizer.control.goals import told_days
    from optimizer.control.planner import Planner
    from optimizer.errors import HistoryError

    now_s, past = time.time(), []
    with contextlib.suppress(HistoryError):
        days = told_days(settled.policy, settled.period_days)
        past = read_past(history, now_s - days * 86_400, now_s)
    planner = Planner(settled.policy, settled.interval_s, past)
    planner.resume(now_s)
    return planner.aim(settled.policy)
