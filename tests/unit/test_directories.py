"""Where files are kept on each system, and what happens where that is not possible."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from optimizer.directories import Directories, directories, make
from optimizer.errors import ConfigError

HOME = Path("/home/u")
SYSTEMD = {
    "STATE_DIRECTORY": "/s/state:/s/other",
    "RUNTIME_DIRECTORY": "/s/run",
    "LOGS_DIRECTORY": "/s/log",
    "CONFIGURATION_DIRECTORY": "/s/etc",
}


def find(
    environ: dict[str, str] | None = None,
    *,
    is_root: bool = False,
    platform: str = "linux",
    workspace: Path | None = None,
    log: Path | None = None,
    config: Path | None = None,
) -> tuple[Path, Path, Path, Path]:
    """State, runtime, log and configuration directory."""
    found = directories(
        workspace=workspace,
        log=log,
        config=config,
        environ=environ or {},
        is_root=is_root,
        platform=platform,
        home=HOME,
    )
    return found.state, found.runtime, found.log, found.config


def paths(*names: str) -> tuple[Path, ...]:
    """The names as paths."""
    return tuple(Path(name) for name in names)


def test_root_on_linux_uses_the_directories_of_the_system() -> None:
    """The file hierarchy standard; a session of the user who became root does not count."""
    assert find({"XDG_RUNTIME_DIR": "/run/user/1", "XDG_STATE_HOME": "/x"}, is_root=True) == paths(
        "/var/lib/optimizer", "/run/optimizer", "/var/log/optimizer", "/etc/optimizer"
    )


def test_user_on_linux_uses_the_xdg_directories() -> None:
    """With the variables, without them, and with a relative one, which is to be ignored."""
    state, config = "/home/u/.local/state/optimizer", "/home/u/.config/optimizer"
    assert find() == paths(state, f"{state}/run", f"{state}/logs", config)
    assert find({"XDG_STATE_HOME": "x"}) == find()
    environ = {"XDG_STATE_HOME": "/x/s", "XDG_RUNTIME_DIR": "/x/r", "XDG_CONFIG_HOME": "/x/c"}
    assert find(environ) == paths(
        "/x/s/optimizer", "/x/r/optimizer", "/x/s/optimizer/logs", "/x/c/optimizer"
    )


@pytest.mark.parametrize("is_root", [True, False])
def test_systemd_hands_over_its_directories(*, is_root: bool) -> None:
    """The first of each list is taken, for root and for a service user alike."""
    assert find(SYSTEMD, is_root=is_root) == paths("/s/state", "/s/run", "/s/log", "/s/etc")


def test_service_user_with_a_state_directory_only_keeps_the_rest_below_it() -> None:
    """A unit that hands over one directory is enough: no home is needed."""
    assert find({"STATE_DIRECTORY": "/s/state"})[:3] == paths(
        "/s/state", "/s/state/run", "/s/state/logs"
    )


def test_macos_uses_the_library_of_the_user() -> None:
    """State, run and config below Application Support, logs where Console looks for them."""
    support = "/home/u/Library/Application Support/optimizer"
    assert find(platform="darwin") == paths(
        f"{support}/state", f"{support}/run", "/home/u/Library/Logs/optimizer", f"{support}/config"
    )


@pytest.mark.parametrize(
    ("environ", "data"), [({"PROGRAMDATA": "D:\\Data"}, "D:\\Data"), ({}, "C:\\ProgramData")]
)
def test_windows_uses_programdata(environ: dict[str, str], data: str) -> None:
    """One place for the service and for who looks at it."""
    base = Path(data) / "Optimizer"
    expected = (base / "state", base / "run", base / "logs", base / "config")
    assert find(environ, platform="win32") == expected


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_workspace_takes_the_place_of_all_and_single_directories_that_of_the_workspace(
    platform: str,
) -> None:
    """WORKSPACE_DIR wins over systemd; LOG_DIR and CONFIG_DIR win over WORKSPACE_DIR."""
    workspace = Path("/w")
    below = paths("/w/state", "/w/run", "/w/logs", "/w/config")
    assert find(SYSTEMD, platform=platform, workspace=workspace) == below
    assert find(
        SYSTEMD, platform=platform, workspace=workspace, log=Path("/l"), config=Path("/c")
    ) == paths("/w/state", "/w/run", "/l", "/c")


def below(base: Path) -> Directories:
    """Four directories that do not exist yet, two levels down."""
    return Directories(
        state=base / "a" / "state",
        runtime=base / "a" / "run",
        log=base / "b" / "logs",
        config=base / "c" / "config",
    )


def test_make_creates_what_is_written_to_and_can_be_repeated(tmp_path: Path) -> None:
    """State, runtime and log are made, the configuration directory is not."""
    made = below(tmp_path)
    make(made)
    make(made)
    assert made.state.is_dir()
    assert made.runtime.is_dir()
    assert made.log.is_dir()
    assert not made.config.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX modes")
def test_make_sets_the_modes_of_new_directories_only(tmp_path: Path) -> None:
    """0750, runtime 0755, whatever the umask; a directory of the administrator stays as it is."""
    made = below(tmp_path)
    made.log.mkdir(parents=True, mode=0o700)
    before = os.umask(0o077)
    try:
        make(made)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (made.state, made.runtime, made.log)]
    assert modes == [0o750, 0o755, 0o700]


def test_make_names_every_directory_it_cannot_have(tmp_path: Path) -> None:
    """Each fault has the directory, the cause and the key to set."""
    (tmp_path / "a").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "logs").touch()
    made = below(tmp_path)
    with pytest.raises(ConfigError) as caught:
        make(made)
    state, runtime, log = caught.value.faults
    remedy = "make it writable for the user that runs this, or set"
    assert state.startswith(f"state directory {made.state}: cannot be created (")
    assert state.endswith(f"; {remedy} WORKSPACE_DIR to a directory that is")
    assert runtime.startswith(f"runtime directory {made.runtime}: cannot be created (")
    expected = f"log directory {made.log}: is not a directory; {remedy} LOG_DIR to a directory"
    assert log == f"{expected} that is"


def test_make_refuses_a_directory_that_cannot_be_written_to(plain_folder: Path) -> None:
    """Told at the start, not at the first sample."""
    made = below(plain_folder)
    make(made)
    made.state.chmod(0o550)
    try:
        with pytest.raises(ConfigError, match="cannot be written to"):
            make(made)
    finally:
        made.state.chmod(0o750)
