"""Whatever a configuration holds: it is loaded, or refused with faults; never anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import ConfigError
from optimizer.settings import Loaded, Settings, load, parse_overrides
from optimizer.settings_keys import KEYS, LEGACY_KEYS, as_text

NAMES = st.sampled_from([*KEYS, *LEGACY_KEYS])
WORDS = st.sampled_from(
    [
        *("0", "1", "25", "40", "80", "99", "100", "-1", "1e9", "nan", "true", "auto", "::"),
        *("/x", "~", "~x", "a/b", "${WORKSPACE_DIR}/l", "${LOG_DIR}/l", "${X}", "${X:-/d}"),
        *("${", "'", '"', "#", "\\"),
    ]
)
VALUES = st.one_of(WORDS, st.text(max_size=12), st.integers().map(str), st.floats().map(str))
LINES = st.builds("{}={}".format, NAMES, VALUES)
FILES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(st.one_of(LINES, VALUES), max_size=12).map(
        lambda lines: "\n".join(lines).encode("utf-8", "replace")
    ),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that each example writes anew."""
    return tmp_path_factory.mktemp("fuzz") / "c.env"


def loaded_or_faults(
    file: Path | None, environ: dict[str, str], overrides: dict[str, str]
) -> Loaded | tuple[str, ...]:
    """What load() gives, or its faults."""
    try:
        return load(file=file, environ=environ, overrides=overrides)
    except ConfigError as exc:
        return exc.faults


def assert_safe(values: Settings) -> None:
    """No target passes its ceiling, and no ceiling the limit without the override."""
    most = 99 if values.ceiling_override else 90
    shared = (
        values.target_utilization_small,
        values.target_utilization_large,
        values.medium_target or 0,
    )
    for target, ceiling in (
        (values.target_cpu, values.cpu_ceiling),
        (values.target_memory, values.memory_ceiling),
        (values.target_disk, values.disk_ceiling),
    ):
        assert 0 <= max(shared if target is None else (target,)) <= ceiling <= most
    assert 0 < values.small_memory_max < values.large_memory_min
    assert values.log_max_mb <= values.log_total_mb
    for path in (values.log_dir, values.config_dir, values.workspace_dir, values.disk_stress_path):
        assert path is None or path.is_absolute()


@given(
    content=FILES,
    environ=st.dictionaries(NAMES, VALUES, max_size=3),
    overrides=st.dictionaries(NAMES, VALUES, max_size=3),
)
@settings(max_examples=400, deadline=None)
def test_any_configuration_is_loaded_safely_or_refused(
    file: Path, content: bytes, environ: dict[str, str], overrides: dict[str, str]
) -> None:
    """No input crashes the loader, and none that it accepts breaks a limit."""
    file.write_bytes(content)
    result = loaded_or_faults(file, environ, overrides)
    if isinstance(result, Loaded):
        assert_safe(result.settings)
        assert set(result.origins) == set(KEYS)
    else:
        assert all(result)
        assert result


@given(values=st.dictionaries(st.sampled_from(sorted(KEYS)), st.integers(0, 100).map(str)))
@settings(max_examples=300, deadline=None)
def test_accepted_numbers_never_break_a_limit(values: dict[str, str]) -> None:
    """Combinations of targets and ceilings, where most of the contradictions are."""
    percent = {key: text for key, text in values.items() if "TARGET" in key or "CEILING" in key}
    result = loaded_or_faults(None, percent, {})
    if isinstance(result, Loaded):
        assert_safe(result.settings)


@given(
    target=st.floats(0, 80).map(lambda value: round(value, 3)),
    ceiling=st.integers(80, 90),
    days=st.integers(30, 366),
    port=st.integers(1, 65535),
    only=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back(
    file: Path, *, target: float, ceiling: int, days: int, port: int, only: bool
) -> None:
    """as_text() and load() are inverse, through a file."""
    wanted = Settings(
        target_utilization_large=target,
        cpu_ceiling=float(ceiling),
        monitor_period_days=days,
        glances_port=port,
        data_disk_only=only,
    )
    file.write_text("".join(f"{key}={as_text(getattr(wanted, key.lower()))}\n" for key in KEYS))
    assert load(file=file, environ={}, overrides={}).settings == wanted


SECRETS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Z"]), min_size=8, max_size=20
)


@given(secret=SECRETS.map(lambda text: f"~{text}~"), broken=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_secret_reaches_a_message(file: Path, secret: str, *, broken: bool) -> None:
    """However a password is quoted or broken, neither repr nor a fault has it."""
    lines = [f"GLANCES_PASSWORD={secret}", f'GLANCES_PASSWORD="{secret}"', f"PASSWORD={secret}"]
    for line in lines:
        file.write_text(f"{line}\n" + ("TARGET_CPU=x\n" if broken else ""), encoding="utf-8")
        result = loaded_or_faults(file, {"GLANCES_PASSWORD": secret}, {"HOLD_OFF": secret})
        assert not isinstance(result, Loaded)
        assert secret not in repr(result)
    loaded = load(file=None, environ={"GLANCES_PASSWORD": secret}, overrides={})
    assert loaded.settings.glances_password == secret
    assert secret not in repr(loaded)


@given(pairs=st.lists(st.text(max_size=20), max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_override_is_split_or_refused(pairs: list[str]) -> None:
    """A fault for each pair without "=", and otherwise a value for each key."""
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        with pytest.raises(ConfigError) as caught:
            parse_overrides(pairs)
        assert len(caught.value.faults) == len(wrong)
    else:
        assert set(parse_overrides(pairs)) == {pair.split("=")[0].strip() for pair in pairs}
