"""The configuration: layers, rules, the exact words of each fault, and live reload."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.errors import ConfigError
from optimizer.orders import MemoryMetric
from optimizer.settings import (
    Loaded,
    Settings,
    SettingsWatch,
    find_file,
    load,
    parse_overrides,
)
from optimizer.settings_keys import KEYS, as_text

HIDDEN = "hunter2"
OLD_FILE = Path(__file__).parent / "data" / "old.env"
TIERS = (
    "LOW_UTIL_DISK_SIZE, LOW_UTIL_DURATION, MED_UTIL_DISK_SIZE, MED_UTIL_DURATION, "
    "HIGH_UTIL_DISK_SIZE, HIGH_UTIL_DURATION: no longer do anything, for disk space is now held "
    "without writing, in unlinked files; remove them"
)

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the text as the configuration file; its path."""

    def write(content: str | bytes) -> Path:
        file = tmp_path / "c.env"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(0o640)
        return file

    return write


def load_file(file: Path | None, **environ: str) -> Loaded:
    """Load with the given environment and nothing on the command line."""
    return load(file=file, environ=environ, overrides={})


def from_environment(**environ: str) -> Settings:
    """The settings with no file at all."""
    return load_file(None, **environ).settings


def faults(file: Path | None, **environ: str) -> tuple[str, ...]:
    """The faults that loading raises, with this directory cut from the paths."""
    with pytest.raises(ConfigError) as caught:
        load_file(file, **environ)
    return tuple(text.replace(f"{file}", "c.env") for text in caught.value.faults)


# --- layers ----------------------------------------------------------------


def test_no_file_means_the_defaults_of_the_product() -> None:
    """Without a file the documented defaults hold, each with the origin "default"."""
    loaded = load_file(None)
    settings = loaded.settings
    assert loaded.file is None
    assert loaded.warnings == ()
    assert set(loaded.origins.values()) == {"default"}
    assert (settings.small_memory_max, settings.large_memory_min) == (8, 16)
    assert (settings.target_utilization_small, settings.target_utilization_large) == (25, 40)
    assert (settings.monitor_period_days, settings.check_interval_seconds) == (30, 60)
    assert (settings.cpu_ceiling, settings.memory_ceiling, settings.disk_ceiling) == (90, 85, 80)
    assert (settings.glances_bind, settings.glances_port) == ("127.0.0.1", 61208)
    assert settings.memory_metric is MemoryMetric.AVAILABLE
    assert settings.platform == "auto"
    assert settings.data_disk_only
    assert settings.disk_stress_path is None


def test_command_line_over_environment_over_file_over_default(write: Write) -> None:
    """Each layer hides those below it, and origins say which one counts."""
    file = write("CPU_CEILING=81\nMEMORY_CEILING=82\nDISK_CEILING=73\n")
    loaded = load(
        file=file,
        environ={"CPU_CEILING": "71", "MEMORY_CEILING": "72", "HOME": "/x", "CPU_CEILIN": "1"},
        overrides={"CPU_CEILING": "61"},
    )
    settings = loaded.settings
    assert (settings.cpu_ceiling, settings.memory_ceiling, settings.disk_ceiling) == (61, 72, 73)
    assert loaded.file == file
    assert [
        loaded.origins[key]
        for key in ("CPU_CEILING", "MEMORY_CEILING", "DISK_CEILING", "LOG_LEVEL")
    ] == ["command line", "environment", "file", "default"]


def test_empty_value_is_the_default_and_an_empty_environment_is_nothing(write: Write) -> None:
    """KEY= in the file or with --set puts back the default; KEY= in the environment does not."""
    file = write("HOLD_OFF_SECONDS=\nLOG_LEVEL=debug\nPLATFORM=suse\n")
    loaded = load(file=file, environ={"LOG_LEVEL": " "}, overrides={"PLATFORM": ""})
    settings = loaded.settings
    assert (settings.hold_off_seconds, settings.log_level) == (300, "debug")
    assert settings.platform == "auto"
    assert loaded.origins["PLATFORM"] == loaded.origins["HOLD_OFF_SECONDS"] == "default"


def test_file_of_the_old_scripts_means_what_it_meant() -> None:
    """Inline comments, an empty workspace and no final newline: the defaults and one warning."""
    assert not OLD_FILE.read_bytes().endswith(b"\n")
    loaded = load_file(OLD_FILE)
    assert loaded.settings == Settings()
    assert loaded.warnings == (TIERS,)
    assert loaded.origins["LOG_DIR"] == "default"
    assert loaded.origins["SMALL_MEMORY_MAX"] == "file"


def test_old_file_with_a_workspace_in_the_environment_uses_it() -> None:
    """${WORKSPACE_DIR} stands for the workspace that counts, not for the one in the file."""
    settings = load_file(OLD_FILE, WORKSPACE_DIR="ws").settings
    workspace = Path.cwd() / "ws"
    assert settings.workspace_dir == workspace
    assert settings.log_dir == workspace / "logs"
    assert settings.config_dir == workspace / "config"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX paths")
def test_variables_come_from_the_environment_and_from_lines_above(write: Write) -> None:
    """${NAME} and ${NAME:-default} are replaced; the workspace may stand below its use."""
    file = write(
        "LOG_DIR=${WORKSPACE_DIR}/l\nCONFIG_DIR=${LOG_DIR}/c\n"
        "DISK_STRESS_PATH=${NONE:-/d}/${PART}\nWORKSPACE_DIR=${BASE}/w\n"
    )
    settings = load_file(file, BASE="/b", PART="p").settings
    assert settings.log_dir == Path("/b/w/l")
    assert settings.config_dir == Path("/b/w/l/c")
    assert settings.disk_stress_path == Path("/d/p")


def test_variable_that_is_not_set_is_a_fault(write: Write) -> None:
    """A half empty path is never made up; neither can a secret be named."""
    file = write("LOG_DIR=${NONE}/l\nCONFIG_DIR=/c/${GLANCES_PASSWORD}\n")
    assert faults(file, GLANCES_PASSWORD=HIDDEN) == (
        "LOG_DIR=${NONE}/l (c.env line 1): refers to ${NONE}, which is set neither in the "
        "environment nor on a line above; write the value itself",
        "CONFIG_DIR=/c/${GLANCES_PASSWORD} (c.env line 2): refers to ${GLANCES_PASSWORD}, which "
        "is set neither in the environment nor on a line above; write the value itself",
    )


# --- rules -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "least", "most", "below", "above"),
    [
        ("SMALL_MEMORY_MAX", "0.1", "15.9", "0", "16"),
        ("LARGE_MEMORY_MIN", "8.01", "1048576", "0", "1048577"),
        ("TARGET_UTILIZATION_SMALL", "0", "80", "-1", "91"),
        ("TARGET_UTILIZATION_LARGE", "0", "80", "-0.1", "90.1"),
        ("MEDIUM_TARGET", "0", "80", "-1", "91"),
        ("TARGET_CPU", "0", "90", "-1", "90.5"),
        ("TARGET_MEMORY", "0", "85", "-1", "85.5"),
        ("TARGET_DISK", "0", "80", "-1", "80.5"),
        ("CPU_CEILING", "40", "90", "0", "91"),
        ("MEMORY_CEILING", "40", "85", "0", "86"),
        ("DISK_CEILING", "40", "80", "0", "81"),
        ("MONITOR_PERIOD_DAYS", "1", "366", "0", "367"),
        ("CHECK_INTERVAL_SECONDS", "1", "3600", "0.9", "3601"),
        ("MEMORY_RISE_MB_PER_MINUTE", "1", "1048576", "0.5", "1048577"),
        ("DISK_RISE_MB_PER_SECOND", "1", "1048576", "0.5", "1048577"),
        ("HOLD_OFF_SECONDS", "0", "86400", "-1", "86401"),
        ("GLANCES_PORT", "1", "65535", "0", "65536"),
        ("GLANCES_REFRESH_INTERVAL", "1", "60", "0", "61"),
        ("LOG_MAX_MB", "1", "100", "0", "1025"),
        ("LOG_TOTAL_MB", "10", "1048576", "9", "1048577"),
        ("LOG_KEEP_DAYS", "1", "3660", "0", "3661"),
    ],
)
def test_ends_of_each_range_are_allowed_and_what_lies_beyond_is_not(
    key: str, least: str, most: str, below: str, above: str
) -> None:
    """Both ends of a range, with all other keys at their defaults, and the first step outside."""
    for text in (least, most):
        assert getattr(from_environment(**{key: text}), key.lower()) == float(text)
    for text in (below, above):
        assert faults(None, **{key: text})[0].startswith(f"{key}={text} (environment): must ")


@pytest.mark.parametrize(
    "text", ["1e1", "1_0", "nan", "inf", "0x10", "10,5", "\uff11\uff10", "10.", "+-1"]
)
def test_only_plain_decimal_numbers_are_numbers(text: str) -> None:
    """What Python would take for a number, but an operator would not, is refused."""
    assert len(faults(None, TARGET_CPU=text)) == 1


def test_days_and_ports_are_whole_numbers() -> None:
    """A decimal point is a fault where there is no half."""
    assert faults(None, MONITOR_PERIOD_DAYS="30.0") == (
        "MONITOR_PERIOD_DAYS=30.0 (environment): must be a whole number of days from 1 to 366; "
        "write for example MONITOR_PERIOD_DAYS=30",
    )
    assert isinstance(from_environment(GLANCES_PORT="80").glances_port, int)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("true", True), ("YES", True), ("On", True), ("1", True)),
        *(("false", False), ("No", False), ("OFF", False), ("0", False)),
    ],
)
def test_switches_take_the_usual_words(text: str, *, value: bool) -> None:
    """Eight words, in upper or lower case."""
    assert from_environment(DATA_DISK_ONLY=text).data_disk_only is value


def test_words_are_taken_in_upper_and_lower_case() -> None:
    """The spelling of the vendors is accepted, and settles to one."""
    settings = from_environment(PLATFORM="openEuler", MEMORY_METRIC="NoCache", LOG_LEVEL="Debug")
    assert (settings.platform, settings.log_level) == ("openeuler", "debug")
    assert settings.memory_metric is MemoryMetric.NOCACHE


def test_tilde_is_the_home_directory() -> None:
    """`~` is expanded in paths; nobody's home is a fault, not a crash."""
    assert from_environment(LOG_DIR="~/x").log_dir == Path.home() / "x"
    if sys.platform != "win32":
        assert len(faults(None, LOG_DIR="~no-such-user-here/x")) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_password(address: str) -> None:
    """Addresses that only this host reaches are allowed as they are."""
    assert from_environment(GLANCES_BIND=address).glances_bind == address


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "2001:db8::1"])  # noqa: S104 - refused
def test_other_addresses_need_a_password(address: str) -> None:
    """With a password they are allowed, without one (blanks are none) they are not."""
    settings = from_environment(GLANCES_BIND=address, GLANCES_PASSWORD=f" {HIDDEN} ")
    assert (settings.glances_bind, settings.glances_password) == (address, f" {HIDDEN} ")
    assert len(faults(None, GLANCES_BIND=address, GLANCES_PASSWORD=HIDDEN[:0])) == 1
    assert len(faults(None, GLANCES_BIND=address, GLANCES_PASSWORD=" " * 3)) == 1
    assert len(faults(None, GLANCES_BIND="example.org", GLANCES_PASSWORD=HIDDEN)) == 1


def test_password_is_shown_nowhere(write: Write) -> None:
    """Neither in repr, nor in messages, nor through a misspelt key or a broken line."""
    loaded = load_file(write("GLANCES_PASSWORD=hunter2\nTARGET_CPU=30\n"))
    assert loaded.settings.glances_password == HIDDEN
    assert HIDDEN not in repr(loaded)
    file = write(
        'GLANCES_PASWORD=hunter2\nGLANCES_PASSWORD: hunter2\nGLANCES_PASSWORD="hunter2\\n"\n'
        'GLANCES_PASSWORD="hunter2\n'
    )
    messages = faults(file)
    assert len(messages) == 4
    assert HIDDEN not in "".join(messages)
    assert "GLANCES_PASSWORD=(hidden) (c.env line 3): must be one line" in messages[-1]
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["GLANCES_PASSWORD:hunter2"])
    assert HIDDEN not in str(caught.value)


def test_password_is_taken_literally(write: Write) -> None:
    """What looks like a variable in a password is part of it."""
    literal = "a${HOME} #b"
    file = write(f"GLANCES_PASSWORD='{literal}'\n")
    assert load_file(file, HOME="/root").settings.glances_password == literal


def test_ceilings_may_be_passed_with_an_override_up_to_99() -> None:
    """CEILING_OVERRIDE lifts ceilings and targets, with a warning, and never to 100."""
    lifted = {"CPU_CEILING": "99", "TARGET_CPU": "95"}
    assert len(faults(None, **lifted)) == 2
    loaded = load_file(None, CEILING_OVERRIDE="yes", **lifted)
    assert (loaded.settings.cpu_ceiling, loaded.settings.target_cpu) == (99, 95)
    assert loaded.warnings == (
        "CPU_CEILING=99 (environment): above the usual 90 percent, as CEILING_OVERRIDE=true "
        "allows; the work on this host may suffer",
    )
    assert faults(None, CEILING_OVERRIDE="yes", DISK_CEILING="100") == (
        "DISK_CEILING=100 (environment): must be a percentage from 1 to 99; "
        "write for example DISK_CEILING=80",
    )


def test_class_target_is_a_fault_only_where_it_applies() -> None:
    """A target of one resource takes the place of the class targets, for this one only."""
    # 82 is below the ceilings of CPU (90) and memory (85), and above that of the disk (80).
    assert faults(None, TARGET_UTILIZATION_LARGE="82") == (
        "TARGET_UTILIZATION_LARGE=82 (environment): must not be above DISK_CEILING=80 (default), "
        "for TARGET_DISK is empty; write for example TARGET_UTILIZATION_LARGE=80, "
        "or set TARGET_DISK",
    )
    assert from_environment(TARGET_UTILIZATION_LARGE="82", TARGET_DISK="0").target_disk == 0
    assert len(faults(None, MEDIUM_TARGET="88", TARGET_CPU="10", TARGET_DISK="10")) == 1
    assert len(faults(None, TARGET_UTILIZATION_LARGE="82", TARGET_DISK="x")) == 1
    assert len(faults(None, CPU_CEILING="20")) == 2  # below both class targets, 25 and 40


def test_short_period_is_allowed_with_a_warning() -> None:
    """A period below 30 days works, and the log says what that means."""
    loaded = load_file(None, MONITOR_PERIOD_DAYS="15")
    assert loaded.settings.monitor_period_days == 15
    assert loaded.warnings == (
        "MONITOR_PERIOD_DAYS=15 (environment): a policy of 30 days is judged on 30 days; "
        "a shorter period can meet its own mean and miss that one",
    )


# --- broken configurations, word by word -----------------------------------

OUT_OF_RANGE = (
    "TARGET_UTILIZATION_LARGE=140",
    "TARGET_UTILIZATION_LARGE=140 (c.env line 1): must be a percentage from 0 to 90; "
    "write for example TARGET_UTILIZATION_LARGE=40",
)
TEXT_FOR_NUMBER = (
    "CHECK_INTERVAL_SECONDS=often",
    "CHECK_INTERVAL_SECONDS=often (c.env line 1): must be a number of seconds from 1 to 3600; "
    "write for example CHECK_INTERVAL_SECONDS=60",
)
UNKNOWN_KEY = (
    "TARGET_UTILISATION_SMALL=30",
    "TARGET_UTILISATION_SMALL (c.env line 1): unknown key; did you mean TARGET_UTILIZATION_SMALL?",
)
SMALL_ABOVE_LARGE = (
    "SMALL_MEMORY_MAX=16",
    "SMALL_MEMORY_MAX=16 (c.env line 1): must be below LARGE_MEMORY_MIN=16 (default); "
    "write for example SMALL_MEMORY_MAX=8 and LARGE_MEMORY_MIN=16",
)
ABOVE_CEILING = (
    "TARGET_DISK=70\nDISK_CEILING=60",
    "TARGET_DISK=70 (c.env line 1): must not be above DISK_CEILING=60 (c.env line 2); "
    "write for example TARGET_DISK=60, or raise DISK_CEILING",
)
BAD_SWITCH = (
    "DATA_DISK_ONLY=maybe",
    "DATA_DISK_ONLY=maybe (c.env line 1): must be one of true, yes, on, 1, false, no, off, 0; "
    "write for example DATA_DISK_ONLY=true",
)
RELATIVE_PATH = (
    "DISK_STRESS_PATH=data/here",
    "DISK_STRESS_PATH=data/here (c.env line 1): must be an absolute path; "
    "write for example DISK_STRESS_PATH=/data",
)
BAD_PORT = (
    "GLANCES_PORT=70000",
    "GLANCES_PORT=70000 (c.env line 1): must be a whole number from 1 to 65535; "
    "write for example GLANCES_PORT=61208",
)
OPEN_BIND = (
    "GLANCES_BIND=0.0.0.0",
    "GLANCES_BIND=0.0.0.0 (c.env line 1): other hosts can reach this address, so "
    "GLANCES_PASSWORD must not be empty; set it, or write GLANCES_BIND=127.0.0.1",
)
LOG_SIZES = (
    "LOG_TOTAL_MB=5",
    "LOG_TOTAL_MB=5 (c.env line 1): must not be below LOG_MAX_MB=10 (default), the size of one "
    "file; write for example LOG_TOTAL_MB=100",
)
NO_FORM = (
    "TARGET_CPU 30",
    "TARGET_CPU (c.env line 1): is not KEY=VALUE; correct the line, or begin it with #",
)
ALL = (
    *(OUT_OF_RANGE, TEXT_FOR_NUMBER, UNKNOWN_KEY, SMALL_ABOVE_LARGE, ABOVE_CEILING),
    *(BAD_SWITCH, RELATIVE_PATH, BAD_PORT, OPEN_BIND, LOG_SIZES, NO_FORM),
)


@pytest.mark.parametrize(("text", "message"), ALL)
def test_fault_names_key_value_place_and_remedy(write: Write, text: str, message: str) -> None:
    """One fault, in exactly these words."""
    assert faults(write(text)) == (message,)


def test_all_faults_of_a_file_come_at_once(write: Write) -> None:
    """A file with every fault gives every message, each with its own line."""
    expected = []
    line = 1
    for text, message in ALL:
        moved = message.replace("line 2", f"line {line + 1}").replace("line 1:", f"line {line}:")
        expected.append(moved.replace("line 1)", f"line {line})"))
        line += text.count("\n") + 1
    assert sorted(faults(write("\n".join(text for text, _ in ALL)))) == sorted(expected)


def test_file_that_is_not_utf8_is_one_fault(write: Write) -> None:
    """The byte and its line are named; nothing else of the file is believed."""
    assert faults(write(b"TARGET_CPU=900\n# caf\xe9\n")) == (
        "c.env line 2: is not UTF-8 (byte 0xe9); save the file as UTF-8",
    )
    assert faults(write("TARGET_CPU=30\n".encode("utf-16-le"))) == (
        "c.env line 1: has a NUL byte; save the file as UTF-8",
    )


def test_file_that_cannot_be_read_is_one_fault(tmp_path: Path, write: Write) -> None:
    """Missing, a directory, too large: a message with a remedy, no traceback."""
    assert faults(tmp_path / "none") == ("c.env: does not exist; create it, or name another",)
    assert faults(tmp_path) == ("c.env: is a directory; name a file of KEY=VALUE lines",)
    assert faults(write("#" * 70000)) == ("c.env: is larger than 65536 bytes; name another file",)


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """A pipe would block the daemon for ever; the null device means an empty file."""
    if sys.platform == "win32":
        pytest.skip("needs named pipes in the file system")
    os.mkfifo(tmp_path / "pipe")
    assert faults(tmp_path / "pipe")[0].startswith("c.env: is not a regular file;")
    assert load_file(Path(os.devnull)).settings == Settings()


def test_file_without_permission_is_a_fault(
    plain_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may not be read is never taken for an empty one."""
    monkeypatch.chdir(plain_folder)
    file = Path("c.env")
    file.write_text("TARGET_CPU=1", encoding="utf-8")
    file.chmod(0)
    assert faults(file)[0].startswith("c.env: cannot be read (Permission denied);")


def test_shapes_of_lines_that_editors_and_shells_write(write: Write) -> None:
    """BOM, CRLF, export, quotes, blanks around "=", comments after values or instead of them."""
    file = write(
        b"\xef\xbb\xbfTARGET_CPU=30 # c\r\n\r\n  export TARGET_DISK = '31'\r\n"
        b'LOG_LEVEL="debug" # c\r\nDISK_STRESS_PATH= # none\r\nPLATFORM=su#se'
    )
    assert faults(file)[0].startswith("PLATFORM=su#se (c.env line 6): must be one of ")
    settings = load(file=file, environ={}, overrides={"PLATFORM": ""}).settings
    assert (settings.target_cpu, settings.target_disk) == (30, 31)
    assert (settings.log_level, settings.disk_stress_path) == ("debug", None)


def test_last_of_equal_keys_counts_and_all_lines_are_named(write: Write) -> None:
    """A key that is written twice is a warning, not a fault."""
    file = write("TARGET_CPU=10\nTARGET_DISK=5\nTARGET_CPU=20\n\nTARGET_CPU=30\n")
    loaded = load_file(file)
    assert loaded.settings.target_cpu == 30
    assert loaded.warnings == (f"TARGET_CPU ({file} lines 1, 3 and 5): set again; the last counts",)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX modes")
def test_password_that_others_can_read_is_a_warning(write: Write) -> None:
    """Both ways in which a password leaks to other users of the host are named."""
    file = write("GLANCES_PASSWORD=x\n")
    assert load_file(file).warnings == ()
    file.chmod(0o644)
    assert [warning.endswith(f"chmod o-r {file}") for warning in load_file(file).warnings] == [True]
    loaded = load(file=None, environ={}, overrides={"GLANCES_PASSWORD": "x"})
    assert len(loaded.warnings) == 1


def test_message_stays_short_and_harmless(write: Write) -> None:
    """Values are cut and control characters escaped before they reach a terminal."""
    (message,) = faults(write("LOG_LEVEL=" + "x" * 5000))
    assert len(message) < 300
    (message,) = faults(write('LOG_DIR="/a\x1b[2Jb"'))
    assert message == (
        "LOG_DIR='/a\\x1b[2Jb' (c.env line 1): must be one line of UTF-8 text of at most 4096 "
        "characters; write for example LOG_DIR=/var/log/optimizer"
    )


# --- command line and places -----------------------------------------------


def test_overrides_are_split_at_the_first_equals_sign() -> None:
    """Values may hold "="; the last of equal keys wins; pairs without one are faults together."""
    pairs = ["GLANCES_PASSWORD=a=b", "TARGET_CPU=1", "TARGET_CPU=2", "LOG_DIR="]
    split = {"GLANCES_PASSWORD": "a=b", "TARGET_CPU": "2", "LOG_DIR": ""}
    assert parse_overrides(pairs) == split
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["TARGET_CPU", "A=1", "x y"])
    remedy = "(command line): is not KEY=VALUE; write for example --set TARGET_CPU=40"
    assert caught.value.faults == (f"TARGET_CPU {remedy}", f"x {remedy}")


def test_unknown_key_on_the_command_line_is_a_fault() -> None:
    """--set is checked like the file; without a similar key there is no suggestion."""
    with pytest.raises(ConfigError) as caught:
        load(file=None, environ={}, overrides={"TARGET_GPU": "1", "XYZZY": "1"})
    assert caught.value.faults == (
        "TARGET_GPU (command line): unknown key; did you mean TARGET_CPU?",
        "XYZZY (command line): unknown key; remove it",
    )


def test_file_is_found_in_the_documented_order(tmp_path: Path) -> None:
    """Explicit; optimizer.env and .env in $CONFIG_DIR; the same in the default directory."""
    named, usual = tmp_path / "named", tmp_path / "usual"
    order = [named / "optimizer.env", named / ".env", usual / "optimizer.env", usual / ".env"]
    environ = {"CONFIG_DIR": str(named)}
    for directory in (named, usual):
        directory.mkdir()
    for file in order:
        file.touch()
    explicit = tmp_path / "not-there"
    assert find_file(explicit=explicit, environ=environ, default_config_dir=usual) == explicit
    for file in order:
        assert find_file(explicit=None, environ=environ, default_config_dir=usual) == file
        file.unlink()
    assert find_file(explicit=None, environ=environ, default_config_dir=usual) is None
    order[3].mkdir()  # there, though of no use: load() will say so
    assert find_file(explicit=None, environ={}, default_config_dir=usual) == order[3]


# --- live reload -----------------------------------------------------------


def watch(file: Path, finds: Callable[[], Path | None] | None = None) -> SettingsWatch:
    """A watch over the file, as the daemon starts it."""
    return SettingsWatch(
        load_file(file), find=finds or (lambda: file), environ={}, overrides={"LOG_MAX_MB": "7"}
    )


def test_watch_reads_again_only_when_the_file_has_changed(write: Write) -> None:
    """Unchanged: None. Changed: the new settings, the command line still above them."""
    file = write("TARGET_CPU=30\n")
    watching = watch(file)
    assert watching.poll() is None
    write("TARGET_CPU=31.5\nLOG_MAX_MB=9\n")
    loaded = watching.poll()
    assert isinstance(loaded, Loaded)
    assert (loaded.settings.target_cpu, loaded.settings.log_max_mb) == (31.5, 7)
    assert watching.poll() is None


def test_watch_sees_a_change_between_the_first_load_and_the_first_poll(write: Write) -> None:
    """The stamp is that of the text that was read, so no change falls between two calls."""
    start = load_file(write("TARGET_CPU=30\n"))
    file = write("TARGET_CPU=5\n")
    watching = SettingsWatch(start, find=lambda: file, environ={}, overrides={})
    assert isinstance(watching.poll(), Loaded)


def test_watch_sees_a_file_that_was_moved_into_place(write: Write, tmp_path: Path) -> None:
    """Same size and same time, another inode: editors save like that."""
    file = write("TARGET_CPU=30\n")
    watching = watch(file)
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    other = tmp_path / "other"
    other.write_text("TARGET_CPU=31\n")
    os.utime(other, ns=times)
    other.replace(file)
    loaded = watching.poll()
    assert isinstance(loaded, Loaded)
    assert loaded.settings.target_cpu == 31


def test_watch_tells_a_fault_once_and_the_repair(write: Write) -> None:
    """A broken file is reported at its first sight, then not again until it changes."""
    watching = watch(write("TARGET_CPU=30\n"))
    write("TARGET_CPU=3000\n")
    assert isinstance(watching.poll(), ConfigError)
    assert watching.poll() is None
    write("TARGET_CPU=30\n")
    assert isinstance(watching.poll(), Loaded)


@pytest.mark.parametrize("explicit", [True, False])
def test_watch_tells_once_that_the_file_is_gone(write: Write, *, explicit: bool) -> None:
    """A vanished file is a fault, so that nobody's target falls back to a default."""
    file = write("TARGET_CPU=30\n")
    watching = watch(file, lambda: file if explicit or file.exists() else None)
    file.unlink()
    fault = watching.poll()
    assert isinstance(fault, ConfigError)
    assert fault.faults[0].startswith(f"{file}: ")
    assert watching.poll() is None
    watching.force()
    assert isinstance(watching.poll(), ConfigError)
    write("TARGET_CPU=30\n")
    assert isinstance(watching.poll(), Loaded)


def test_forced_watch_reads_an_unchanged_file_once() -> None:
    """SIGHUP always gives an answer, also where there is no file at all."""
    watching = SettingsWatch(load_file(None), find=lambda: None, environ={}, overrides={})
    assert watching.poll() is None
    watching.force()
    assert isinstance(watching.poll(), Loaded)
    assert watching.poll() is None


def test_watch_sees_a_file_that_appears(write: Write, tmp_path: Path) -> None:
    """A daemon that started without a file takes up the first one that is written."""
    file = tmp_path / "c.env"
    watching = SettingsWatch(
        load_file(None), find=lambda: file if file.exists() else None, environ={}, overrides={}
    )
    assert watching.poll() is None
    write("TARGET_CPU=12\n")
    loaded = watching.poll()
    assert isinstance(loaded, Loaded)
    assert loaded.settings.target_cpu == 12


def test_every_field_is_a_key() -> None:
    """Fields and keys have the same names, and each example is a value that its rule takes."""
    for name, key in KEYS.items():
        assert getattr(Settings(), name.lower()) == key.default
        key.rule.parse(key.example)


def test_maintenance_windows_are_empty_or_read_as_a_whole(write: Write) -> None:
    """Nothing by default; two windows of a file, shown as they are written."""
    assert Settings().maintenance_windows is None
    assert KEYS["MAINTENANCE_WINDOWS"].default is None
    text = "0 2 * * mon#1 2h Europe/Berlin; 30 1 1 * * 90m Asia/Shanghai"
    read = load_file(write(f"MAINTENANCE_WINDOWS={text}\n")).settings.maintenance_windows
    assert read is not None
    assert [str(window) for window in read] == text.split("; ")
    assert as_text(read) == text
    assert read == load_file(None, MAINTENANCE_WINDOWS=text).settings.maintenance_windows


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("0 25 * * * 2h UTC", "in '0 25 * * * 2h UTC' the hour is none that cron knows, or never"),
        ("0 2 * * * 0h UTC", "in '0 2 * * * 0h UTC' '0h' lasts no time"),
        ("0 2 * * * 2h Mars/Base", "the zone 'Mars/Base' is not in this host's time zone database"),
        ("0 2 * * * 2h", "'0 2 * * * 2h' has 6 parts and not seven"),
    ],
)
def test_a_fault_of_a_maintenance_window_names_it_and_the_remedy(value: str, why: str) -> None:
    """Key, value, origin, what it must be, which window is wrong and how, and an example."""
    (fault,) = faults(None, MAINTENANCE_WINDOWS=value)
    assert fault.startswith(f"MAINTENANCE_WINDOWS={value} (environment): must be windows of minute")
    assert why in fault
    assert fault.endswith("write for example MAINTENANCE_WINDOWS=0 2 * * sun 2h Europe/Berlin")


def test_statistic_and_combination_belong_to_the_custom_policy() -> None:
    """A preset says both itself; a percentile is read as people write it."""
    settings = from_environment(POLICY="custom", STATISTIC="P99.5", COMBINATION="break_any")
    assert settings.statistic is not None
    assert str(settings.statistic) == "cpu p99.5, memory p99.5, disk p99.5"
    assert faults(None, STATISTIC="p95") == (
        "STATISTIC=p95 (environment): has no effect with POLICY=regulated-cloud (default), which "
        "says that itself; leave it empty, or write POLICY=custom",
    )
    for wrong in (
        *("p0", "p100", "median", "95", "none", "mean 0d", "mean 400d", "p95 7", "net p95"),
        *("p95, mean", "cpu p95, cpu mean", "cpu p95,", "cpu none, memory none, disk none"),
    ):
        (fault,) = faults(None, POLICY="custom", STATISTIC=wrong)
        assert "must be mean, peak, or a percentile such as p95 or p99.5" in fault
        assert fault.endswith("write for example STATISTIC=cpu p95 7d, memory mean, disk none")
