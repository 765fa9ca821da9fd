"""What the Windows service is registered as."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.adapters import windows_plan as plan
from recover.facts import WINDOWS_SERVICE
from tests.paths import CHECKOUT


def test_the_recovery_tool_knows_it_by_this_name() -> None:
    """It asks the service manager for it, and has no other way to know."""
    assert plan.NAME == WINDOWS_SERVICE


def test_its_identity_is_that_of_windows() -> None:
    """The known one of TrustedInstaller, which is on every Windows."""
    known = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
    assert plan.service_sid("TrustedInstaller") == known
    assert plan.service_sid("trustedinstaller") == known


@pytest.mark.parametrize(("code", "expected"), [(78, True), (2, True), (0, False), (1, False)])
def test_a_configuration_fault_is_no_crash(code: int, expected: bool) -> None:
    """A restart would end the same way; all else that fails is started anew."""
    assert plan.ends_for_good(code) is expected


def test_only_who_must_may_write() -> None:
    """The service writes its own directories, not the configuration; users read one of them."""
    own = plan.access_list(writes=True, everybody_reads=False, sid="S-1-5-80-1")
    assert own == "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;S-1-5-80-1)"
    config = plan.access_list(writes=False, everybody_reads=True, sid="S-1-5-80-1")
    assert "0x1301bf" not in config
    assert config.endswith("(A;OICI;0x1200a9;;;S-1-5-80-1)(A;OICI;0x1200a9;;;BU)")


def test_a_path_with_blanks_stays_one_word() -> None:
    r"""An unquoted C:\Program Files\... would let C:\Program.exe be started instead."""
    line = plan.command_line(r"C:\Program Files\P\python.exe", r"C:\s.py", r"C:\a b", r"C:\d")
    assert line == r'"C:\Program Files\P\python.exe" -I -S C:\s.py "C:\a b" C:\d'


def test_the_service_has_the_packages_and_the_python_of_its_environment(tmp_path: Path) -> None:
    """Not those of the Python that it was made of: the web page would not be found there."""
    if list(Path(sys.base_prefix).glob("python*._pth")):
        pytest.skip("this Python's path is a file beside it, whatever the options are")
    packages = tmp_path / "venv/Lib/site-packages"
    (packages / "optimizer/cli").mkdir(parents=True)
    (packages / "optimizer/cli/service_host.py").write_text(
        "import sys\ndef main():\n    print(*sys.path, sys.executable, sep='\\n')\n"
    )
    python = tmp_path / "venv/Scripts/python.exe"
    python.parent.mkdir()
    python.touch()
    shim = str(CHECKOUT / "windows/service.py")
    words = shlex.split(plan.command_line("python", shim, "site", "data"), posix=False)
    words = [sys.executable, *words[1:-2], str(packages), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    *path, executable = done.stdout.splitlines()
    assert [one for one in path if one.endswith("-packages")] == [str(packages)]
    assert executable == str(python)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r"C:\Users\me\python.exe", False),
        (r"c:/users/me/python.exe", False),
        (r"C:\Users2\python.exe", True),
        (r"C:\Program Files\Python\python.exe", True),
    ],
)
def test_what_the_account_cannot_read_is_seen(path: str, expected: bool) -> None:
    """A Python that was installed for one user lies in that user's folder."""
    assert plan.outside_of_profiles(path, "C:\\Users") is expected
    assert plan.outside_of_profiles(path, "")


def test_a_folder_with_brackets_does_not_end_a_block_of_start_bat() -> None:
    """As in "Downloads/project (1)": outside of quotes its bracket would close the block."""
    for line in (CHECKOUT / "windows/start.bat").read_text(encoding="ascii").splitlines():
        if not line.startswith("rem "):
            bare = "".join(line.split('"')[::2])
            for word in ("%VENV%", "%CD%", "%ProgramFiles%", "%~dp0"):
                assert word not in bare, line


def test_whether_an_administrator_runs_start_bat_is_no_matter_of_another_service() -> None:
    """`net session` fails for administrators too where the service Server is off."""
    text = (CHECKOUT / "windows/start.bat").read_text(encoding="ascii")
    assert "net session" not in text
    assert "IsUserAnAdmin" in text
