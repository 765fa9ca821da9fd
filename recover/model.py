"""Values: what is read of the world, and what is to be done. Nothing here touches anything."""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Tuple

MARK_NAME = "CloudResourceOptimizer"
"""Name of the memfd that each process of ours holds."""
GROUP_NAME = "optimizer-load"
"""Beginning of the name of the workers' control group; the daemon's pid follows."""

ROLES = ("controller", "stresser", "worker", "page")
"""What a process of ours is for."""

FileId = Tuple[int, int]
"""Device and inode."""


class Mark(NamedTuple):
    """A memfd of our name in a process: who made it, whether it is sealed, what it says."""

    uid: int
    sealed: bool
    fields: Mapping[str, object]


class Process(NamedTuple):
    """A process as it was read; None and empty stand for what cannot be read.

    `start` is in clock ticks (Windows: microseconds since the epoch), `uids`
    the real, effective and saved user, `inner_pid` its pid in its own pid
    namespace, `locks` the files on which it holds a lock, `opaque` why its
    descriptors cannot be seen.
    """

    pid: int
    start: int | None = None
    uids: tuple[int, ...] | None = None
    parent: int | None = None
    inner_pid: int | None = None
    state: str = ""
    words: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    locks: frozenset[FileId] = frozenset()
    pidfs: int | None = None
    opaque: str = ""


class Entry(NamedTuple):
    """What a roster or a lock says of one process."""

    pid: int
    start: int | None
    pidfs: int | None
    role: str
    kind: str | None


class Roster(NamedTuple):
    """Who belongs to a daemon, as it wrote itself; `changed_utc_s` is when."""

    path: str
    uid: int
    boot_id: str | None
    changed_utc_s: float
    controller: int | None
    entries: tuple[Entry, ...]


class Lock(NamedTuple):
    """The lock file of a daemon; `held` None when that cannot be told, `holder` who it says."""

    path: str
    uid: int
    file: FileId
    held: bool | None
    boot_id: str | None
    holder: Entry | None


class Places(NamedTuple):
    """The directories of one daemon, and how we know of them.

    `named` is true where the operator or a configuration says so: then no sign
    of ours is needed in them. `owner` is the user who says so, None: anybody
    may own them.
    """

    state: str
    runtime: str
    source: str
    named: bool = False
    owner: int | None = None


class Inhibit(NamedTuple):
    """The order not to load in one state directory; `standing` when it has no end."""

    present: bool
    standing: bool


class Leftover(NamedTuple):
    """A file or an empty directory that a killed daemon left; `fault` why it is not ours.

    `sign` is true when it proves by its content that the others are ours too.
    """

    name: str
    is_directory: bool = False
    fault: str = ""
    sign: bool = False


class Home(NamedTuple):
    """A state or runtime directory as it was found.

    `fault` says why it cannot be used, `ours` why it is taken for ours (empty:
    no sign). `weak` is true when that is a file name which anybody may give:
    it says nothing of other directories. `missing` is true when there is none.
    `uid` is whose it is.
    """

    path: str
    places: Places
    fault: str = ""
    missing: bool = False
    uid: int | None = None
    ours: str = ""
    weak: bool = False
    inhibit: Inhibit | None = None
    lock: Lock | None = None
    roster: Roster | None = None
    leftovers: tuple[Leftover, ...] = ()


class Group(NamedTuple):
    """A control group of our name; `members` None when they cannot be read.

    `nested` is true when there are groups below it, whose members are not
    among these: ours have none.
    """

    path: str
    pid: int
    members: tuple[int, ...] | None
    can_kill: bool
    nested: bool = False


class Service(NamedTuple):
    """The unit or service of our name, as its manager shows it."""

    name: str
    active: bool
    pid: int | None
    command: str


class Facts(NamedTuple):
    """Everything that was read.

    `sees_all_pids` is false inside a pid namespace: a pid that is not there may
    be alive outside. `known` are the daemons that locks and rosters named in an
    earlier look, before those were removed. `orphans` is true when processes
    without a daemon are meant too, whichever it was, if they are the users' of
    the named directories: a daemon that has stopped is named by nothing.
    """

    platform: str
    euid: int
    boot_id: str | None
    booted_utc_s: float
    processes: Mapping[int, Process]
    states: tuple[Home, ...]
    runtimes: tuple[Home, ...]
    fillers: tuple[Home, ...]
    groups: tuple[Group, ...]
    service: Service | None
    gaps: tuple[str, ...]
    only_named: bool = False
    orphans: bool = False
    sees_all_pids: bool = True
    known: frozenset[int] = frozenset()


class Proof(NamedTuple):
    """Why a process is ours: by its mark, a lock, a roster, or its family; the same in words."""

    by: str
    text: str
    role: str
    kind: str | None = None
    controller: int | None = None


class Target(NamedTuple):
    """A process that is proven ours."""

    process: Process
    proof: Proof


class Work(NamedTuple):
    """One thing to be done: `what` to which `target`, and why it may be."""

    what: str
    target: str
    why: str


class Diagnosis(NamedTuple):
    """What is to be done, in order; what is not ours; what may be; what could not be seen."""

    inhibit: tuple[Home, ...]
    service: Service | None
    daemons: tuple[Target, ...]
    stressers: tuple[Target, ...]
    groups: tuple[Group, ...]
    stale: tuple[Home, ...]
    not_ours: tuple[str, ...]
    doubts: tuple[str, ...]
    gaps: tuple[str, ...]


Family = Dict[int, Target]
"""Processes that are proven ours, by pid."""
