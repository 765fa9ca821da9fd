"""The reference of all keys, config/optimizer.env.example, says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from optimizer.settings import Settings, load
from optimizer.settings_keys import KEYS, LEGACY_KEYS, as_text

EXAMPLE = Path(__file__).parents[2] / "config" / "optimizer.env.example"


def documented() -> dict[str, tuple[str, str]]:
    """Each active key: its value, and the comment right above it as one line."""
    found: dict[str, tuple[str, str]] = {}
    comment: list[str] = []
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
            continue
        if line:
            key, _, value = line.partition("=")
            assert key not in found
            found[key] = (value, " ".join(comment))
        comment = []
    return found


def test_example_is_a_valid_configuration_that_equals_the_defaults() -> None:
    """Whoever copies the file unchanged gets what nobody having a file gets."""
    loaded = load(file=EXAMPLE, environ={}, overrides={})
    assert loaded.settings == Settings()
    assert loaded.warnings == ()


def test_example_has_each_key_of_the_code_with_its_default() -> None:
    """No key is missing, none is invented, and no default is out of date."""
    values = {key: value for key, (value, _) in documented().items()}
    assert values == {name: as_text(key.default) for name, key in KEYS.items()}


@pytest.mark.parametrize("name", KEYS)
def test_comment_states_range_unit_and_default(name: str) -> None:
    """The range in the comment is the one that the code enforces."""
    _, comment = documented()[name]
    assert KEYS[name].rule.expected.lower() in comment.lower()
    assert comment.endswith(f". Default {as_text(KEYS[name].default) or 'empty'}.")


def test_old_keys_are_documented_and_inactive() -> None:
    """Keys without effect stand in comments only, all of them."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert set(re.findall(r"^# ([A-Z_]+)=", text, re.MULTILINE)) == set(LEGACY_KEYS)


def test_comments_are_on_their_own_lines() -> None:
    """No comment after a value: other readers of such files would take it for the value."""
    assert [key for key, (value, _) in documented().items() if "#" in value] == []
