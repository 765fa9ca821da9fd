"""Findings about Python, the dependencies and the configuration; pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from optimizer.report.doctor import Area, Code, Finding, Severity, with_fine
from optimizer.report.doctor_text import plural

OLDEST_PYTHON = (3, 11)
"""The same as python_requires in setup.cfg."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """One library: what is installed, and what is asked for.

    `version` is None where none is installed, `error` why the import fails,
    None where it does not. `oldest` is the lower bound of setup.cfg, `locked` the
    version of requirements.lock; empty where there is none. `builtin` tells a
    part of Python's own library that some builds lack.
    """

    name: str
    version: str | None
    error: str | None
    oldest: str = ""
    locked: str = ""
    builtin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """The interpreter that runs this, and what it can import.

    `venv` is the interpreter that start.sh made beside the checkout, None where
    there is none; `in_venv` tells that it is the one that runs this. `managed`
    tells that the distribution lets nobody else install into this interpreter. `stamp` is
    the file whose absence makes start.sh set that environment up anew.
    """

    python: tuple[int, int, int]
    executable: str
    dependencies: tuple[Dependency, ...]
    venv: str | None = None
    in_venv: bool = False
    stamp: str | None = None
    start_script: str | None = None
    managed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the configuration says of itself.

    `refused` is what the daemon says of its last reload, `in_force` the file
    that it has read ("" for none); None where no daemon tells.
    """

    file: str | None
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changed: int = 0
    unread: str | None = None
    refused: str | None = None
    in_force: str | None = None


def install(facts: Install) -> list[Finding]:
    """Whether this interpreter can run the daemon."""
    found: list[Finding] = []
    shown = ".".join(map(str, facts.python))
    if facts.python < OLDEST_PYTHON:
        found.append(too_old(facts.python, facts.executable))
    if facts.venv is not None and not facts.in_venv:
        found.append(
            Finding(
                area=Area.INSTALL,
                code=Code.OTHER_INTERPRETER,
                severity=Severity.NOTE,
                found=f"this is {facts.executable}; ./start.sh runs the daemon with {facts.venv}, "
                "whose libraries may differ",
                remedy="examine that one with",
                command=f"{shlex.quote(facts.venv)} -m optimizer doctor",
            )
        )
    for one in facts.dependencies:
        found += _dependency(one, facts)
    names = ", ".join(f"{d.name} {d.version}" for d in facts.dependencies if d.version)
    return with_fine(found, Area.INSTALL, f"Python {shown} at {facts.executable}; {names} import")


def too_old(python: tuple[int, int, int], executable: str) -> Finding:
    """The finding that an interpreter cannot run the program at all."""
    wanted = ".".join(map(str, OLDEST_PYTHON))
    return Finding(
        area=Area.INSTALL,
        code=Code.PYTHON_TOO_OLD,
        severity=Severity.FAULT,
        found=f"{executable} is Python {'.'.join(map(str, python))}; {wanted} or newer is needed",
        remedy=f"install python{wanted} from your distribution and name it",
        command=f"PYTHON=python{wanted} ./start.sh",
    )


def _dependency(one: Dependency, facts: Install) -> list[Finding]:
    remedy, command = _remedy(one, facts)
    code, severity = Code.DEPENDENCY_MISSING, Severity.FAULT
    if one.builtin and one.error is not None:
        code = Code.DEPENDENCY_BROKEN
        said = f"the module {one.name} of Python itself cannot be imported: {one.error}"
        remedy, command = "use another build of Python, such as your distribution's", None
    elif one.version is None and one.error is not None:
        said = f"{one.name} is not installed for {facts.executable}: {one.error}"
    elif one.error is not None:
        code = Code.DEPENDENCY_BROKEN
        said = f"{one.name} {one.version or ''} is installed but cannot be imported: {one.error}"
    elif one.version and one.oldest and numbers(one.version) < numbers(one.oldest):
        code = Code.DEPENDENCY_TOO_OLD
        said = f"{one.name} {one.version} is installed; {one.oldest} or newer is needed"
    elif one.version and one.locked and one.version != one.locked:
        code, severity = Code.DEPENDENCY_NOT_LOCKED, Severity.NOTE
        said = f"{one.name} {one.version} is installed; the tests ran with {one.locked}"
        remedy, command = "", None
    else:
        return []
    return [
        Finding(
            area=Area.INSTALL,
            code=code,
            severity=severity,
            found=said,
            remedy=remedy,
            command=command,
        )
    ]


def _remedy(one: Dependency, facts: Install) -> tuple[str, str | None]:
    python = shlex.quote(facts.executable)
    if facts.in_venv and facts.stamp and facts.start_script:
        # start.sh trusts its stamp, so a damaged environment is set up again only without it.
        stamp, script = shlex.quote(facts.stamp), shlex.quote(facts.start_script)
        return "set the environment up anew", f"rm -f {stamp} && {script} --setup-only"
    if facts.managed and facts.start_script:
        script = shlex.quote(facts.start_script)
        return "set up an environment with all of them, and use that", f"{script} --setup-only"
    wanted = f"{one.name}>={one.oldest}" if one.oldest else one.name
    again = " --force-reinstall" if one.error and one.version else ""
    return "install it", f"{python} -m pip install{again} {shlex.quote(wanted)}"


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, to compare: `7.2.2rc1` is (7, 2, 2)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match.group().split("."))) if match else ()


def config(facts: Config) -> list[Finding]:
    """Every fault and warning of the configuration."""
    found = [_split(Code.CONFIG_FAULT, Severity.FAULT, fault) for fault in facts.faults]
    found += [_split(Code.CONFIG_WARNING, Severity.WARNING, text) for text in facts.warnings]
    if facts.unread is not None:
        found.append(
            Finding(
                area=Area.CONFIG,
                code=Code.CONFIG_NOT_READ,
                severity=Severity.WARNING,
                found=f"{facts.file} could not be checked: {facts.unread}",
                remedy="mend what is said of the dependencies, then look again",
            )
        )
    if facts.refused:
        found.append(
            Finding(
                area=Area.CONFIG,
                code=Code.RELOAD_REFUSED,
                severity=Severity.WARNING,
                found="the daemon runs with its last good configuration, for it has refused the "
                f"changed one: {facts.refused}",
                remedy="mend the file; the daemon reads it again by itself",
            )
        )
    if facts.in_force is not None and not facts.refused and facts.in_force != (facts.file or ""):
        found.append(
            Finding(
                area=Area.CONFIG,
                code=Code.OTHER_CONFIG,
                severity=Severity.NOTE,
                found=f"the daemon reads {facts.in_force or 'no file'}, this command "
                f"{facts.file or 'no file'}",
                remedy="give this command the same with --config FILE",
            )
        )
    where = facts.file or "no file: built-in defaults"
    keys = plural(facts.changed, "key")
    return with_fine(found, Area.CONFIG, f"{where}; {keys} set apart from the defaults")


def _split(code: Code, severity: Severity, message: str) -> Finding:
    """Messages of the configuration end with their remedy, after a semicolon."""
    said, _, remedy = message.rpartition("; ")
    return Finding(
        area=Area.CONFIG,
        code=code,
        severity=severity,
        found=said or remedy,
        remedy=remedy if said else "",
    )
