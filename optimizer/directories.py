"""Where the daemon keeps its files on each system."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from optimizer.errors import ConfigError

NAME = "optimizer"
"""The last part of each directory that is shared with other programs' directories."""
STATUS_NAME = "status.json"
TEXT_NAME = "status.txt"
LOCK_NAME = "lock"
"""Files of the runtime directory."""
HISTORY_NAME = "history.sqlite3"
"""The history's file in the state directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """The four directories of one daemon.

    `state` survives reboots (history, inhibit); `runtime` need not (status,
    lock, generated files); `log` has the log files; `config` is where a
    configuration file is looked for, and is never written to.
    """

    state: Path
    runtime: Path
    log: Path
    config: Path


def directories(
    *,
    workspace: Path | None,
    log: Path | None,
    config: Path | None,
    environ: Mapping[str, str],
    is_root: bool,
    platform: str,
    home: Path,
) -> Directories:
    """The directories to use; nothing on the disk is looked at or changed.

    `workspace`, `log` and `config` are WORKSPACE_DIR, LOG_DIR and CONFIG_DIR,
    absolute, or None where empty. `platform` is as sys.platform. In falling
    order: LOG_DIR and CONFIG_DIR; WORKSPACE_DIR; what systemd hands over in
    the environment (the first of several); what is usual on the system.

    Sources: systemd.exec(5), RuntimeDirectory=; XDG Base Directory
    Specification, which also says that relative paths are to be ignored.
    """
    if workspace is not None:
        found = _below(workspace)
    elif platform == "win32":
        data = Path(environ.get("PROGRAMDATA") or "C:\\ProgramData")
        found = _below(data / "Optimizer")
    elif platform == "darwin":
        library = home / "Library"
        support = _below(library / "Application Support" / NAME)
        found = Directories(
            state=support.state,
            runtime=support.runtime,
            log=library / "Logs" / NAME,
            config=support.config,
        )
    else:
        found = _from_systemd_or_usual(environ=environ, is_root=is_root, home=home)
    return Directories(
        state=found.state,
        runtime=found.runtime,
        log=log or found.log,
        config=config or found.config,
    )


def _below(base: Path) -> Directories:
    return Directories(
        state=base / "state", runtime=base / "run", log=base / "logs", config=base / "config"
    )


def _from_systemd_or_usual(*, environ: Mapping[str, str], is_root: bool, home: Path) -> Directories:
    if is_root:
        usual_state, usual_config = Path("/var/lib") / NAME, Path("/etc") / NAME
    else:
        usual_state = (_absolute(environ, "XDG_STATE_HOME") or home / ".local/state") / NAME
        usual_config = (_absolute(environ, "XDG_CONFIG_HOME") or home / ".config") / NAME
    state = _absolute(environ, "STATE_DIRECTORY") or usual_state
    if is_root:
        usual_runtime, usual_log = Path("/run") / NAME, Path("/var/log") / NAME
    else:
        session = _absolute(environ, "XDG_RUNTIME_DIR")
        usual_runtime = session / NAME if session else state / "run"
        usual_log = state / "logs"
    return Directories(
        state=state,
        runtime=_absolute(environ, "RUNTIME_DIRECTORY") or usual_runtime,
        log=_absolute(environ, "LOGS_DIRECTORY") or usual_log,
        config=_absolute(environ, "CONFIGURATION_DIRECTORY") or usual_config,
    )


def _absolute(environ: Mapping[str, str], name: str) -> Path | None:
    first = environ.get(name, "").split(":", 1)[0]
    return Path(first) if first.startswith("/") else None


def make(directories: Directories) -> None:
    """Create the state, runtime and log directories where they are missing.

    New ones get mode 0750, the runtime directory 0755, so that the web page
    can read its one file there as another user. Those that exist keep their
    mode. Raises ConfigError with one fault for each directory that cannot be
    made or written to.
    """
    faults = []
    for word, path, mode, key in (
        ("state", directories.state, 0o750, "WORKSPACE_DIR"),
        ("runtime", directories.runtime, 0o755, "WORKSPACE_DIR"),
        ("log", directories.log, 0o750, "LOG_DIR"),
    ):
        cause = _made(path, mode)
        if cause:
            faults.append(
                f"{word} directory {path}: {cause}; make it writable for the user that runs "
                f"this, or set {key} to a directory that is"
            )
    if faults:
        raise ConfigError(faults)


def _made(path: Path, mode: int) -> str | None:
    """Why the directory cannot be had, None where it can."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            if not path.is_dir():
                return "is not a directory"
        else:
            path.chmod(mode)  # mkdir alone is subject to the umask
    except OSError as exc:
        return f"cannot be created ({exc.strerror})"
    return None if os.access(path, os.W_OK | os.X_OK) else "cannot be written to"
