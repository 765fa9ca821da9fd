"""What proves a process ours: tables of marks, locks, rosters and families."""

from __future__ import annotations

from typing import Any

import pytest

from recover.diagnose import diagnose, left, plan
from recover.model import (
    Entry,
    Facts,
    Group,
    Home,
    Leftover,
    Lock,
    Mark,
    Places,
    Process,
    Roster,
    Service,
)
from recover.prove import evidence_of, family_of, looks_like_ours

BOOT, OTHER_BOOT = "boot-a", "boot-b"
ME, OTHER = 1000, 1001
PLACES = Places("/s", "/r", "--workspace", named=True)
SAYS = {"role": "worker", "kind": "cpu", "pid": 50, "start": 700, "boot_id": BOOT, "controller": 40}


def process(pid: int = 50, **changed: Any) -> Process:
    """A process that shows everything and has no mark."""
    shown: dict[str, Any] = {"start": 700, "uids": (ME, ME, ME), "parent": 1, "inner_pid": pid}
    return Process(pid, **{**shown, **changed})


def mark(uid: int = ME, *, sealed: bool = True, **changed: object) -> Mark:
    """A genuine mark of that process, but for what is changed."""
    return Mark(uid, sealed, {**SAYS, **changed})


def facts(*processes: Process, **changed: Any) -> Facts:
    """A Linux host with these processes, looked at by root."""
    read: dict[str, Any] = {
        "platform": "linux",
        "euid": 0,
        "boot_id": BOOT,
        "booted_utc_s": 100.0,
        "processes": {one.pid: one for one in processes},
        "states": (),
        "runtimes": (),
        "fillers": (),
        "groups": (),
        "service": None,
        "gaps": (),
    }
    return Facts(**{**read, **changed})


def runtime(lock: Lock | None = None, roster: Roster | None = None, **changed: Any) -> Home:
    """A runtime directory that is ours."""
    home = Home("/r", PLACES, ours="named", lock=lock, roster=roster)
    return home._replace(**changed)


def roster(
    *entries: Entry, uid: int = ME, boot: str | None = BOOT, changed: float = 200.0
) -> Roster:
    """A roster with these entries."""
    return Roster("/r/roster.json", uid, boot, changed, None, entries)


def lock(**changed: Any) -> Lock:
    """A lock that process 50 holds."""
    entry = Entry(50, None, None, "controller", None)
    return Lock("/r/lock", ME, (1, 2), True, BOOT, entry)._replace(**changed)


def ours(known: Facts) -> set[int]:
    """The pids that are proven ours."""
    return set(family_of(known, evidence_of(known)))


@pytest.mark.parametrize(
    ("what", "proven"),
    [
        (process(marks=(mark(),)), True),
        (process(marks=(mark(OTHER), mark())), True),
        # In a pid namespace of its own it knows itself by another pid.
        (process(inner_pid=7, marks=(mark(pid=7),)), True),
        (process(inner_pid=7, marks=(mark(),)), False),
        (process(), False),
        (process(marks=(mark(sealed=False),)), False),
        (process(marks=(mark(OTHER),)), False),
        # What was started with somebody else's rights does not belong to who started it.
        (process(uids=(ME, 0, 0), marks=(mark(),)), False),
        (process(uids=None, marks=(mark(),)), False),
        (process(marks=(mark(pid=51),)), False),
        (process(marks=(mark(start=701),)), False),
        (process(start=None, marks=(mark(start=None),)), False),
        (process(marks=(mark(boot_id=OTHER_BOOT),)), False),
        (process(marks=(mark(pid="50"),)), False),
        (process(marks=(Mark(ME, True, {}),)), False),
        (process(state="Z", marks=(mark(),)), False),
        (process(state="D", marks=(mark(),)), True),
    ],
)
def test_a_mark_proves_only_the_process_that_it_tells_of(what: Process, proven: bool) -> None:
    """Sealed, made by the process's own user, and with its pid, start and boot."""
    assert ours(facts(what)) == ({50} if proven else set())


def test_a_mark_proves_nothing_where_the_boot_is_unknown() -> None:
    """Unknown is not equal: neither a missing boot id nor one that says null."""
    assert not ours(facts(process(marks=(mark(boot_id=None),)), boot_id=None))


HOLDS = process(locks=frozenset({(1, 2)}))


@pytest.mark.parametrize(
    ("what", "lock_", "proven"),
    [
        (HOLDS, lock(), True),
        (process(), lock(), False),
        (HOLDS, lock(held=False), False),
        (HOLDS, lock(held=None), False),
        (HOLDS, lock(boot_id=OTHER_BOOT), False),
        (HOLDS, lock(boot_id=None), False),
        (HOLDS, lock(uid=OTHER), False),
        (HOLDS, lock(holder=None), False),
        (HOLDS, lock(holder=Entry(51, None, None, "controller", None)), False),
        (HOLDS, lock(holder=Entry(50, 700, None, "controller", None)), True),
        (HOLDS, lock(holder=Entry(50, 701, None, "controller", None)), False),
        (process(locks=frozenset({(1, 3)})), lock(), False),
        (process(uids=(OTHER,) * 3, locks=frozenset({(1, 2)})), lock(), False),
    ],
)
def test_a_lock_proves_only_who_really_holds_it(what: Process, lock_: Lock, proven: bool) -> None:
    """What is written in the file is not enough, nor is the lock of another user's file."""
    assert ours(facts(what, runtimes=(runtime(lock_),))) == ({50} if proven else set())


ENTRY = Entry(50, 700, 9000, "stresser", "cpu")
UNSEEN = Process(50, opaque="hidden")


@pytest.mark.parametrize(
    ("what", "roster_", "euid", "proven"),
    [
        (process(), roster(ENTRY), 0, True),
        (process(pidfs=9000), roster(ENTRY), 0, True),
        (process(pidfs=9001), roster(ENTRY), 0, False),
        (process(start=701), roster(ENTRY), 0, False),
        (process(start=701, pidfs=9000), roster(ENTRY), 0, False),
        (process(), roster(ENTRY, boot=OTHER_BOOT), 0, False),
        (process(), roster(ENTRY, boot=None), 0, False),
        (process(), roster(ENTRY, uid=OTHER), 0, False),
        (process(uids=(0, 0, 0)), roster(ENTRY), 0, False),
        (process(uids=(0, 0, 0)), roster(ENTRY, uid=0), 0, True),
        (process(uids=(0, ME, ME)), roster(ENTRY), 0, False),
        (process(51), roster(ENTRY), 0, False),
        # Hidden by /proc: the inode of a pidfd says which process it is, and whose comes after.
        (UNSEEN._replace(pidfs=9000, uids=(ME, ME, ME)), roster(ENTRY), 0, True),
        (UNSEEN._replace(pidfs=9000, uids=(0, 0, 0)), roster(ENTRY), 0, False),
        (UNSEEN._replace(pidfs=9000), roster(ENTRY), 0, False),
        (UNSEEN._replace(pidfs=9000), roster(ENTRY, uid=0), 0, True),
        (UNSEEN._replace(pidfs=9000), roster(ENTRY), ME, True),
        (UNSEEN._replace(pidfs=9000), roster(ENTRY, uid=0), ME, True),
        (UNSEEN._replace(pidfs=9001), roster(ENTRY, uid=0), 0, False),
        (UNSEEN, roster(ENTRY, uid=0), 0, False),
    ],
)
def test_a_roster_proves_only_processes_of_its_owner(
    what: Process, roster_: Roster, euid: int, proven: bool
) -> None:
    """Of this boot, with the same start or pidfd, and of the user who owns the file."""
    known = facts(what, runtimes=(runtime(roster=roster_),), euid=euid)
    assert ours(known) == ({50} if proven else set())


@pytest.mark.parametrize(("changed", "proven"), [(200.0, True), (50.0, False)])
def test_without_a_boot_id_a_roster_must_be_younger_than_the_boot(
    changed: float, proven: bool
) -> None:
    """Where there is no /proc, the time of the file tells which boot it is of."""
    what = UNSEEN._replace(pidfs=9000)
    home = runtime(roster=roster(ENTRY, uid=0, changed=changed))
    assert ours(facts(what, runtimes=(home,), boot_id=None)) == ({50} if proven else set())


def test_a_roster_in_a_directory_without_a_sign_of_ours_proves_nothing() -> None:
    """Another program may have a directory of the same name."""
    home = runtime(roster=roster(ENTRY))
    assert not ours(facts(process(), runtimes=(home._replace(ours=""),)))
    assert not ours(facts(process(), runtimes=(home._replace(fault="of somebody else"),)))


DAEMON = process(40, start=600, locks=frozenset({(1, 2)}))
HELD = lock(holder=Entry(40, None, None, "controller", None))
STARTED = ("python", "-I", "-S", "/x/stressers/__main__.py", "cpu", "--leased", "--parent", "40")


@pytest.mark.parametrize(
    ("children", "proven"),
    [
        ([process(parent=40, words=STARTED)], {40, 50}),
        ([process(parent=40, words=STARTED), process(51, parent=50, words=STARTED)], {40, 50, 51}),
        # Whoever starts the daemon by exec leaves it children that are not ours.
        ([process(parent=40, words=("redis-server",))], {40}),
        ([process(parent=40, words=(*STARTED[:-1], "41"))], {40}),
        ([process(parent=1, words=STARTED)], {40}),
        ([process(parent=40, uids=(OTHER,) * 3, words=STARTED)], {40}),
        ([process(parent=40, start=500, words=STARTED)], {40}),
        ([process(parent=40, words=STARTED), process(51, parent=50, words=("sh",))], {40, 50}),
    ],
)
def test_a_daemon_without_marks_is_known_with_its_family(
    children: list[Process], proven: set[int]
) -> None:
    """By its lock; its stressers as children that it started for itself, and their workers."""
    assert ours(facts(DAEMON, *children, runtimes=(runtime(HELD),))) == proven


def test_only_the_daemons_of_named_directories_are_touched_when_asked() -> None:
    """Marked processes of another daemon, and by hand, are left alone; one's own are not."""
    home = runtime(HELD)
    mine = process(50, marks=(mark(controller=40),))
    others = process(60, marks=(mark(pid=60, controller=41),))
    by_hand = process(61, marks=(mark(pid=61, controller=None),))
    known = facts(DAEMON, mine, others, by_hand, runtimes=(home,))
    assert ours(known) == {40, 50, 60, 61}
    assert ours(known._replace(only_named=True)) == {40, 50}


def test_after_a_stop_those_without_a_daemon_are_found_too() -> None:
    """Nothing names a daemon that has stopped in order. Other users' and other daemons' stay."""
    crew = process(60, marks=(mark(pid=60, controller=41, role="stresser"),))
    worker = process(61, parent=60, marks=(mark(pid=61, controller=41),))
    living = process(70, marks=(mark(pid=70, controller=None, role="controller"),))
    # In a container a daemon has another pid than it has here.
    its_crew = process(71, parent=70, inner_pid=8, marks=(mark(pid=8, controller=7),))
    its_worker = process(72, parent=71, inner_pid=9, marks=(mark(pid=9, controller=7),))
    by_hand = process(80, marks=(mark(pid=80, controller=None),))
    stranger = process(
        90, uids=(OTHER, OTHER, OTHER), marks=(mark(uid=OTHER, pid=90, controller=41),)
    )
    all_of_them = (crew, worker, living, its_crew, its_worker, by_hand, stranger)
    known = facts(*all_of_them, runtimes=(runtime(uid=ME),), only_named=True)
    assert ours(known) == set()
    assert ours(known._replace(orphans=True)) == {60, 61}


@pytest.mark.parametrize(
    ("words", "like"),
    [
        (STARTED, True),
        (("/v/bin/python", "/v/bin/optimizer", "run"), True),
        (("python", "-m", "optimizer", "run"), True),
        (("python", "cpu_stresser.py"), False),
        (("python", "-m", "optimizer", "status"), False),
        (("vi", "stressers/__main__.py"), False),
    ],
)
def test_what_looks_like_ours_is_named_but_not_touched(words: tuple[str, ...], like: bool) -> None:
    """A command line leads to a line of the report, never to a signal."""
    known = facts(process(words=words))
    found = diagnose(known)
    assert looks_like_ours(words) is like
    assert any("pid 50" in line for line in found.not_ours) is like
    assert plan(found) == ()
    assert left(found) == ()


def test_what_may_be_ours_and_cannot_be_looked_into_is_left_over() -> None:
    """Not proven is not gone: as a plain user it counts, with what to do."""
    known = facts(process(words=STARTED, opaque="this user may not look into it"), euid=ME)
    (line,) = left(diagnose(known))
    assert "pid 50" in line
    assert "run this as root" in line


def test_a_lock_that_is_held_by_nobody_proven_is_left_over() -> None:
    """There is a daemon; which process it is cannot be told."""
    (line,) = left(diagnose(facts(runtimes=(runtime(lock()),))))
    assert "/r/lock is held" in line


def test_a_pid_that_only_the_roster_knows_and_nothing_tells_of_is_left_over() -> None:
    """Neither start nor pidfd: it may be ours, so it is said and not signalled."""
    found = diagnose(facts(UNSEEN, runtimes=(runtime(roster=roster(ENTRY, uid=0)),)))
    assert found.stressers == ()
    assert "does not tell" in left(found)[0]


@pytest.mark.parametrize(
    ("members", "known", "removed"),
    [
        ((), [], True),
        ((50,), [process(marks=(mark(),))], True),
        ((50, 51), [process(marks=(mark(),)), process(51)], False),
        ((51,), [process(51)], False),
        ((0,), [], False),
        (None, [], False),
        # Its daemon's pid is somebody else's now, who needs no group of ours.
        ((), [process(40, words=("redis-server",))], True),
        ((), [process(40, words=("optimizer", "run"))], False),
    ],
)
def test_a_group_is_touched_only_when_all_in_it_are_ours(
    members: tuple[int, ...] | None, known: list[Process], removed: bool
) -> None:
    """One stranger in it is enough to leave it; what is ours in it ends one by one."""
    group = Group("/sys/fs/cgroup/optimizer-load.40", 40, members, can_kill=True)
    found = diagnose(facts(*known, groups=(group,)))
    assert found.groups == ((group,) if removed else ())
    assert any("group" in line for line in found.not_ours) is not removed


def test_inside_a_pid_namespace_an_empty_group_may_be_that_of_a_daemon_outside() -> None:
    """Unless a lock or roster of ours names its daemon."""
    group = Group("/sys/fs/cgroup/optimizer-load.50", 50, (), can_kill=True)
    known = facts(groups=(group,), sees_all_pids=False)
    assert diagnose(known).groups == ()
    assert "namespace" in diagnose(known).not_ours[0]
    home = runtime(lock(held=False))
    assert diagnose(known._replace(runtimes=(home,))).groups == (group,)


def test_a_group_with_a_group_below_it_is_left() -> None:
    """Ours have none; whose processes are below is not told by its own list."""
    group = Group("/sys/fs/cgroup/optimizer-load.40", 40, (50,), can_kill=True, nested=True)
    found = diagnose(facts(process(marks=(mark(),)), groups=(group,)))
    assert found.groups == ()
    assert "below" in found.not_ours[0]


def test_a_group_stays_known_when_lock_and_roster_are_gone() -> None:
    """Its removal failed; the next look must still count it."""
    group = Group("/sys/fs/cgroup/optimizer-load.40", 40, (), can_kill=True)
    known = facts(groups=(group,), only_named=True)
    assert left(diagnose(known)) == ()
    assert "optimizer-load.40" in left(diagnose(known._replace(known=frozenset({40}))))[0]


def test_an_order_that_could_not_be_set_is_left_over_once_it_was_tried() -> None:
    """A daemon could start again, so it is not clean; a dry run has not tried."""
    found = diagnose(facts(states=(Home("/s", PLACES, ours="named"),)))
    (line,) = left(found)
    assert "/s/inhibit: could not be set" in line
    assert left(found, tried=False) == ()
    assert left(diagnose(facts(states=(Home("/s", PLACES, missing=True),)))) == ()


@pytest.mark.parametrize(
    ("service", "stopped"),
    [
        (Service("optimizer.service", True, 50, ""), True),
        (Service("optimizer.service", True, 51, ""), False),
        (Service("optimizer.service", False, None, "/v/bin/optimizer run"), False),
        # Between two restarts it has no process.
        (Service("optimizer.service", True, None, "{ path=/v/bin/optimizer ; argv[]=x }"), True),
        (Service("optimizer.service", True, None, "{ path=/usr/bin/solver ; argv[]=x }"), False),
    ],
)
def test_a_service_is_stopped_only_when_it_runs_us(service: Service, stopped: bool) -> None:
    """Another program may have a unit of the same name."""
    found = diagnose(facts(process(marks=(mark(role="controller"),)), service=service))
    assert found.service == (service if stopped else None)


FILES = (Leftover("status.json"), Leftover("lock"))


@pytest.mark.parametrize(
    ("home", "stale"),
    [
        (runtime(leftovers=FILES), True),
        (runtime(lock(held=False), leftovers=FILES), True),
        (runtime(lock(), leftovers=FILES), False),
        (runtime(lock(held=None), leftovers=FILES), False),
        (runtime(ours="", leftovers=FILES), False),
        (runtime(fault="a link", leftovers=FILES), False),
        (runtime(leftovers=(FILES[0], Leftover("lock", fault="is a pipe"))), False),
        (runtime(leftovers=(Leftover("status.json", fault="has 2 names"),)), False),
    ],
)
def test_files_are_stale_only_when_no_daemon_has_the_lock(home: Home, stale: bool) -> None:
    """And only where the directory is ours."""
    assert bool(diagnose(facts(runtimes=(home,))).stale) is stale


def test_the_files_of_a_daemon_that_is_to_be_ended_are_stale_after_it() -> None:
    """The plan shows all steps in their order: forbid, end, remove."""
    state = Home("/s", PLACES, ours="named")
    home = runtime(HELD, leftovers=FILES)
    steps = [work.what for work in plan(diagnose(facts(DAEMON, runtimes=(home,), states=(state,))))]
    assert steps == ["inhibit", "end", "remove", "remove"]
