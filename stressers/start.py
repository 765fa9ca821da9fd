"""Puts a stresser together from its parts, the same by hand and leased."""

from __future__ import annotations

import os
import sys
from functools import partial

from stressers import kernel, mark, windows, worker
from stressers.board import Board
from stressers.run import Leased, Source, Work, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stressers.joining import Broker
    from stressers.run import AnyCrew, AnyDoor, AnyPost
    from stressers.teller import Teller


class Order:
    """What to start: kind, size of the crew, place, and how the crew shall die.

    `controller` is the pid of the process whose end ends us, None by hand.
    `metric` is one of reclaim.METRICS, `allowed` see place.check_place().
    CPU workers move into `group`, or have `broker` move them.
    """

    __slots__ = (
        "allowed",
        "broker",
        "controller",
        "group",
        "kind",
        "life_fd",
        "mark",
        "metric",
        "path",
        "workers",
    )

    def __init__(self, kind: str, workers: int) -> None:
        self.kind = kind
        self.workers = workers
        self.path = "."
        self.metric = "available"
        self.allowed: frozenset[str] = frozenset()
        self.controller: int | None = None
        self.life_fd: int | None = None
        self.group: str | None = None
        self.broker: Broker | None = None
        self.mark = -1
        """The descriptor of our mark of identity; -1: none."""


def start(
    order: Order, teller: Teller, source_of: Callable[[AnyDoor], Source], *, stdin: bool
) -> int:
    """Arm, fork, work, release; the exit code. Raises OSError when something is denied."""
    boot = _mark(order)
    renew_alarm, guards = _arm(order)
    door = _door(0 if stdin else None)
    body, own_means, means = _duty(order)
    own_denied = kernel.take_all(own_means)
    work = _work(order, teller, partial(_crew, order, door, body, means, boot))

    def means_of(denied: int) -> tuple[list[str], list[str]]:
        have, lack = kernel.named(means, denied)
        own_have, own_lack = kernel.named(own_means, own_denied)
        armed, unarmed = guards
        return have + own_have + armed, lack + own_lack + unarmed

    return run(work, source_of(door), teller, renew_alarm=renew_alarm, means_of=means_of)


def leased(order: Order, door: AnyDoor) -> Leased:
    """The source of leases for a stresser with a controller."""
    return Leased(door, order.kind, order.controller or os.getppid())


def _mark(order: Order) -> str:
    """Mark this process; the name of this boot, empty where there is none."""
    try:
        boot = mark.boot_id()
    except OSError:
        return ""
    found = mark.open_mark()
    if mark.write_mark(found, os.getpid(), "stresser", order.kind, order.controller, boot):
        order.mark = found
    return boot


def _arm(order: Order) -> tuple[Callable[[float], None], tuple[list[str], list[str]]]:
    """Arm this process; how to renew its alarm, and which guards are in force and missing."""
    controller, life_fd = order.controller, order.life_fd
    if sys.platform == "win32":
        from stressers.threaded import lease_alarm  # noqa: PLC0415  # only where needed

        renew, alarm = lease_alarm(worker.FIRST_LEASE_S, windows.system())
    else:
        renew, alarm = worker.renew_alarm, worker.arm_alarm(worker.FIRST_LEASE_S)
    tried: list[tuple[str, str, bool]] = [
        ("lease alarm", worker.ALARM_COST, alarm),
        ("mark of identity", mark.COST, order.mark >= 0),
    ]
    # One descriptor to wake each worker, one for its mark at first, one to watch its memory.
    # By hand the output may be a file.
    writes = order.kind == "disk" or controller is None
    worker.limit_crew(order.workers * (3 if order.kind == "memory" else 2), writes=writes)
    if controller is not None:
        pipe = life_fd is not None and worker.arm_pipe(life_fd)
        tried.append(("life pipe", worker.PIPE_COST, pipe))
        tried.append(("parent death signal", worker.PARENT_COST, worker.arm_parent(controller)))
    have = [name for name, _, armed in tried if armed]
    return renew, (have, [f"{name}: {cost}" for name, cost, armed in tried if not armed])


def _door(stdin_fd: int | None) -> AnyDoor:
    if sys.platform == "win32":
        from stressers.threaded import ThreadDoor  # noqa: PLC0415  # only where needed

        return ThreadDoor(stdin_fd)
    from stressers.door import Door  # noqa: PLC0415  # does not exist on Windows

    return Door(stdin_fd)


def _crew(
    order: Order,
    door: AnyDoor,
    body: Callable[[AnyPost], None],
    means: tuple[kernel.Mean, ...],
    boot: str,
    board: Board,
) -> AnyCrew:
    if sys.platform == "win32":
        from stressers.threaded import ThreadCrew, ThreadDoor  # noqa: PLC0415  # only where needed

        if not isinstance(door, ThreadDoor):
            raise TypeError(door)
        return ThreadCrew(board, body, means, door.called)
    from stressers.crew import ForkCrew  # noqa: PLC0415  # does not exist on Windows

    own = door.own if order.mark < 0 else (*door.own, order.mark)
    crew = ForkCrew(
        board,
        body,
        means,
        life_fd=order.life_fd,
        own=own,
        holds=order.kind == "memory",
        enter=(lambda: None) if order.broker is None else order.broker.enter,
        write_mark=lambda found, pid: mark.write_mark(
            found, pid, "worker", order.kind, order.controller, boot
        ),
    )
    door.watch(crew.back_fd)
    return crew


def _duty(
    order: Order,
) -> tuple[Callable[[AnyPost], None], tuple[kernel.Mean, ...], tuple[kernel.Mean, ...]]:
    """What a worker does, the means that the crew takes for all, and those of each worker.

    The crew itself is never in the idle class: it must hear a lease beside a
    busy tenant.
    """
    if order.kind == "cpu":
        from stressers import cpu, watch  # noqa: PLC0415  # each kind loads its own duty only

        workers, group = order.workers, order.group
        means: tuple[kernel.Mean, ...] = (kernel.IDLE_CLASS, kernel.IDLE_IO)
        if group is not None:
            cost = "the workers stay in the cgroup of the crew"
            joined = kernel.Mean(f"cgroup {group}", cost, lambda pid: kernel.join_group(group, pid))
            means = (joined, *means)
        crews: tuple[kernel.Mean, ...] = (kernel.OOM, kernel.idle_group_of(group))
        if order.broker is not None:
            from stressers.joining import Entered  # noqa: PLC0415  # where there is a broker only

            means, crews = (Entered(order.broker), *means), (kernel.OOM,)
        tick_s = kernel.tick_s()
        phase_s = kernel.tick_phase_s(tick_s)

        def burn(post: AnyPost) -> None:
            looks = watch.watches(post.index, workers)
            rhythm = cpu.Rhythm(post.index, workers, tick_s, phase_s)
            cpu.burn(post, rhythm, watch.open_watch() if looks else None)

        return burn, crews, means
    if order.kind == "memory":
        from stressers import memory, reclaim  # noqa: PLC0415  # each kind loads its own duty only

        lazy, ways = reclaim.works_lazily(order.metric), memory.means(order.metric)
        return partial(memory.hold, lazy=lazy), (kernel.OOM, *ways), ()
    return (lambda _: None), (kernel.OOM, kernel.IDLE_IO), ()


def _work(order: Order, teller: Teller, join: Callable[[Board], AnyCrew]) -> Work:
    if order.kind == "cpu":
        from stressers.cpu import Cpu  # noqa: PLC0415  # each kind loads its own duty only

        return Cpu(order.workers, join)
    if order.kind == "memory":
        from stressers import reclaim  # noqa: PLC0415  # each kind loads its own duty only
        from stressers.memory import Memory  # noqa: PLC0415  # as above

        return Memory(order.workers, join, teller, lazy=reclaim.works_lazily(order.metric))
    from stressers.disk import Disk  # noqa: PLC0415  # as above
    from stressers.place import check_place  # noqa: PLC0415  # as above

    return Disk(check_place(order.path, order.allowed), join, teller)
