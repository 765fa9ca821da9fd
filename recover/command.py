"""Takes away all load of CloudResourceOptimizer, in an emergency too; hurts nobody else."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from typing import NoReturn, Sequence

from recover.diagnose import diagnose, left, plan
from recover.ending import Act
from recover.facts import read_facts
from recover.figures import Figures, local_disks, measure, table
from recover.kernel import allow_files
from recover.model import Diagnosis, Facts
from recover.places import Asked
from recover.prove import evidence_of, family_of, known_controllers
from recover.repairs import drop_caches, lift_inhibit, repair

MOST_COUNTED, EXIT_USAGE, EXIT_DECLINED, EXIT_INTERRUPTED = 100, 111, 112, 130
EXIT_ANOTHER_RUNS = "75"
"""How a daemon ends that finds another one, as a service manager tells it."""
_ROUNDS = 3
"""Something may start between a look and the inhibit; it is found by the next look."""
_CPU_S = 0.3
_FILES = 4096
"""A descriptor for each process of ours, of which there may be a thousand."""
_ABOUT = """\
Takes away all load of CloudResourceOptimizer on this host and everything that
a daemon has left, also when it hangs, is broken, or the disk is full. Sets the
order `inhibit`, so that nothing starts again until --resume. Touches only what
is proven ours; all else is named and left alone."""
_EPILOG = f"""\
exit codes: 0 nothing of ours is left, seen by a second look;
1 to {MOST_COUNTED} so many things are left, may be, or could not be forbidden to
start again; {EXIT_USAGE} wrong arguments;
{EXIT_DECLINED} not confirmed; {EXIT_INTERRUPTED} interrupted.
This one file is enough: it needs Python 3.7 or later and nothing else, and may
be copied alone to another host."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="recover_system.py",
        description=_ABOUT,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="one JSON document; implies --yes")
    parser.add_argument("--resume", action="store_true", help="only lift the order not to load")
    parser.add_argument(
        "--drop-caches",
        action="store_true",
        help="also drop cached file pages (root): frees nothing of ours, and slows others",
    )
    parser.add_argument(
        "--after-stop",
        action="store_true",
        help="for a service manager: end and remove what a daemon that has stopped left, forbid "
        "nothing; implies --yes and --only",
    )
    places = parser.add_argument_group(
        "where to look", "beside the usual directories and those that living daemons name"
    )
    places.add_argument(
        "--workspace", action="append", default=[], metavar="DIR", help="a WORKSPACE_DIR"
    )
    places.add_argument("--state", default="", metavar="DIR", help="a state directory")
    places.add_argument("--runtime", default="", metavar="DIR", help="a runtime directory")
    places.add_argument("--log", default="", metavar="DIR", help="a log directory; it stays")
    places.add_argument(
        "--config", action="append", default=[], metavar="FILE", help="a configuration file"
    )
    places.add_argument(
        "--disk", action="append", default=[], metavar="DIR", help="where disk space was held"
    )
    places.add_argument(
        "--only",
        action="store_true",
        help="touch nothing but the daemons of the directories named here",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; the exit code."""
    args = _parsed(argv)
    asked = Asked(
        state=args.state,
        runtime=args.runtime,
        workspaces=tuple(args.workspace),
        configs=tuple(args.config),
        disks=tuple(os.path.abspath(path) for path in args.disk),
        only=args.only or args.after_stop,
        orphans=args.after_stop,
    )
    allow_files(_FILES)
    session = _Session(args, asked)
    try:
        if args.after_stop:
            return session.tidy()
        return session.resume() if args.resume else session.recover()
    except KeyboardInterrupt:
        print(
            "\ninterrupted: run this again to go on; each step may be done twice", file=sys.stderr
        )
        return EXIT_INTERRUPTED


class _Session:
    """One run: it looks, tells, asks, repairs, looks again."""

    def __init__(self, args: argparse.Namespace, asked: Asked) -> None:
        self._args = args
        self._asked = asked
        self._acts: list[Act] = []
        self._not_ours: list[str] = []
        self._gaps: list[str] = []
        self._known: frozenset[int] = frozenset()
        # What is measured before is measured after, whatever is mounted meanwhile.
        self._disks = tuple(dict.fromkeys((*local_disks()[0], *asked.disks)))

    def resume(self) -> int:
        """Lift the order not to load in all state directories that are ours."""
        failed = 0
        for home in read_facts(self._asked).states:
            if home.ours and not home.fault:
                if self._args.dry_run:
                    self._tell(Act("resume", home.path, "planned", "lift the order not to load"))
                    continue
                act = lift_inhibit(home)
                failed += act.result in {"failed", "refused"}
                self._tell(act)
            elif home.fault:
                self._tell(Act("resume", home.path, "refused", home.fault))
        if not self._acts:
            self._say("No state directory of ours was found; name it with --workspace or --state.")
        if self._args.json:
            _print_json({"actions": [act._asdict() for act in self._acts], "exit_code": failed})
        return min(failed, MOST_COUNTED)

    def recover(self) -> int:
        """All steps; how many things are left."""
        facts, diagnosis = self._look()
        before = measure(self._disks, self._count(facts), _CPU_S)
        self._introduce(facts, diagnosis)
        if self._args.dry_run:
            for work in plan(diagnosis):
                self._tell(Act(work.what, work.target, "planned", work.why))
            return self._conclude(facts, diagnosis, before, None)
        if plan(diagnosis) and not self._confirmed(diagnosis):
            return EXIT_DECLINED
        for _ in range(_ROUNDS):
            if not plan(diagnosis):
                break
            repair(diagnosis, facts, self._tell)
            tried = diagnosis
            facts, diagnosis = self._look()
            if plan(diagnosis) == plan(tried):
                break  # what could not be done a moment ago cannot be done now
        if self._args.drop_caches:
            self._tell(drop_caches())
        after = measure(self._disks, self._count(facts), _CPU_S)
        return self._conclude(facts, diagnosis, before, after)

    def tidy(self) -> int:
        """What a stopped daemon left ends and goes, with a line for each; how much is left.

        Source: systemd.exec(5), EXIT_STATUS in the environment of ExecStopPost=.
        """
        if os.environ.get("EXIT_STATUS") == EXIT_ANOTHER_RUNS:
            self._say("Another daemon runs, so this one held nothing.")
            return 0
        facts, diagnosis = self._look()
        found = plan(diagnosis)
        if found and not self._args.dry_run:
            repair(diagnosis, facts, self._tell)
            facts, diagnosis = self._look()
        remaining = left(diagnosis)
        self._list(f"Still there ({len(remaining)})", remaining)
        if not remaining:
            was = f"; {len(found)} had to be removed" if found else ""
            self._say(f"Nothing of the daemon is left{was}.")
        return min(len(remaining), MOST_COUNTED)

    def _look(self) -> tuple[Facts, Diagnosis]:
        facts = read_facts(self._asked, self._known)
        diagnosis = diagnose(facts)
        if self._args.after_stop:
            # It is being stopped already, and may be started again.
            diagnosis = diagnosis._replace(inhibit=(), service=None)
        self._known |= known_controllers(facts.runtimes)
        self._known |= {target.process.pid for target in diagnosis.daemons}
        self._not_ours += [one for one in diagnosis.not_ours if one not in self._not_ours]
        self._gaps += [one for one in diagnosis.gaps if one not in self._gaps]
        return facts, diagnosis

    @staticmethod
    def _count(facts: Facts) -> int:
        return len(family_of(facts, evidence_of(facts)))

    def _introduce(self, facts: Facts, diagnosis: Diagnosis) -> None:
        who = (
            ""
            if sys.platform == "win32"
            else f", as {'root' if facts.euid == 0 else 'a plain user'}"
        )
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        self._say(f"CloudResourceOptimizer recovery on {platform.node()}{who}, {when}")
        for title, lines in (
            ("Left alone, not ours", diagnosis.not_ours),
            ("May be ours, cannot be proven", diagnosis.doubts),
            ("Not seen", diagnosis.gaps),
        ):
            self._list(title, lines)
        if not plan(diagnosis):
            self._say("\nNothing to do: nothing of ours runs or is left behind.")

    def _confirmed(self, diagnosis: Diagnosis) -> bool:
        if self._args.yes or self._args.json or not sys.stdin.isatty():
            return True
        self._list(
            "To do", [f"{work.what:<8} {work.target}: {work.why}" for work in plan(diagnosis)]
        )
        try:
            answer = input("\nDo this? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() in {"y", "yes"}:
            return True
        self._say("Nothing was done.")
        return False

    def _conclude(
        self, facts: Facts, diagnosis: Diagnosis, before: Figures, after: Figures | None
    ) -> int:
        remaining = left(diagnosis, tried=not self._args.dry_run)
        code = min(len(remaining), MOST_COUNTED)
        if self._args.dry_run:
            self._say(f"\n{table(before, None)}")
            self._say("\nDry run: nothing was done.")
        else:
            self._say(f"\n{table(before, after)}")
            if remaining:
                self._list(f"Still there ({len(remaining)})", remaining)
            else:
                self._say("\nClean: a second look found nothing of ours.")
            self._say(_outlook(facts, diagnosis))
        if self._args.json:
            _print_json(
                {
                    "dry_run": self._args.dry_run,
                    "actions": [act._asdict() for act in self._acts],
                    "not_ours": self._not_ours,
                    "not_seen": self._gaps,
                    "left": remaining,
                    "inhibited": not diagnosis.inhibit,
                    "before": before._asdict(),
                    "after": None if after is None else after._asdict(),
                    "exit_code": code,
                }
            )
        return code

    def _tell(self, act: Act) -> None:
        if not self._acts:
            self._say("")
        self._acts.append(act)
        self._say(f"  {act.result:<8} {act.step:<8} {act.target}: {act.reason}")

    def _list(self, title: str, lines: Sequence[str]) -> None:
        if lines:
            self._say(f"\n{title}")
            for line in lines:
                self._say(f"  {line}")

    def _say(self, line: str) -> None:
        if not self._args.json:
            _print(_plain(line))


def _print_json(document: dict[str, object]) -> None:
    _print(json.dumps(document, indent=2))


def _print(text: str) -> None:
    """Print a line; when nobody reads or the disk is full, go on without."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _plain(text: str) -> str:
    """The text without characters that steer a terminal: file names may have them."""
    return (
        "".join(one if one.isprintable() or one == "\n" else "?" for one in text)
        .encode(sys.stdout.encoding or "ascii", "backslashreplace")
        .decode(sys.stdout.encoding or "ascii")
    )


def _outlook(facts: Facts, diagnosis: Diagnosis) -> str:
    """Whether load can come back."""
    if diagnosis.inhibit:
        paths = ", ".join(home.path for home in diagnosis.inhibit)
        return f"A daemon could start again: the order not to load could not be set in {paths}."
    if not any(home.inhibit and home.inhibit.standing for home in facts.states):
        return "No state directory of ours was found, so there was nothing to forbid load in."
    return "No load comes back until `optimizer resume` or `recover_system.py --resume`."
