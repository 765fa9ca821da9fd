"""The Ansible role agrees with itself and with the program."""

from __future__ import annotations

import re
from pathlib import Path

from optimizer.model import Reason
from optimizer.upkeep import NEEDS_RESTART

FOLDER = Path(__file__).resolve().parents[2] / "ansible"
ROLE = FOLDER / "roles/cloud_resource_optimizer"
PREFIX = "cloud_resource_optimizer_"


def read(name: str) -> str:
    """A file of the role."""
    return (ROLE / name).read_text(encoding="utf-8")


def listed(name: str) -> list[str]:
    """A list among the role's constants, in one line or in several."""
    text = read("vars/main.yml").split(f"\n{PREFIX}{name}:", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"\w+", text.split("\ncloud_", 1)[0])


def test_each_variable_is_described_with_its_default() -> None:
    """A default that the specification does not say, or says otherwise, would mislead."""
    defaults = dict(re.findall(r"^(\w+): (.*)$", read("defaults/main.yml"), re.MULTILINE))
    options = re.split(r"^      (?=cloud_)", read("meta/argument_specs.yml"), flags=re.MULTILINE)
    described = {option.split(":")[0] for option in options[1:]}
    assert described == set(defaults)
    for option in options[1:]:
        name = option.split(":")[0]
        said = re.search(r"^        default: (.*)$", option, re.MULTILINE)
        required = "        required: true\n" in option
        assert required or (said is not None and said[1] == defaults[name]), option


def test_each_entry_point_has_its_tasks_its_playbook_and_its_line() -> None:
    """What is specified can be called, and is in the README."""
    entries = re.findall(r"^  (\w+):$", read("meta/argument_specs.yml"), re.MULTILINE)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for entry in entries:
        playbook = "install.yml" if entry == "main" else f"{entry}.yml"
        assert (ROLE / f"tasks/{entry}.yml").is_file()
        assert (FOLDER / "playbooks" / playbook).is_file()
        assert f"| `{playbook}`, `{entry}` |" in readme


def test_each_variable_is_in_the_readme() -> None:
    """By its name without the prefix."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in re.findall(rf"^{PREFIX}(\w+):", read("defaults/main.yml"), re.MULTILINE):
        assert f"`{name}`" in readme, name


def test_the_keys_that_need_a_restart_are_those_of_the_program() -> None:
    """Another key read at the start only would otherwise stay without effect."""
    keys = [*listed("start_keys"), *listed("page_keys")]
    assert sorted(keys) == sorted(name.upper() for name in NEEDS_RESTART)


def test_the_reasons_that_are_waited_for_exist() -> None:
    """A reason that was renamed would be waited for no more."""
    assert set(listed("unsettled")) <= {reason.value for reason in Reason}


def test_no_password_is_shown_in_differences() -> None:
    """Neither one of the new configuration nor one that the host's file had before."""
    said = read("tasks/write.yml").split("  diff: >-\n")[1].split("  register:")[0]
    for where in ("config", "before.content"):
        assert re.search(rf"'GLANCES_PASSWORD' not in \(?{PREFIX}{where}\b", said), where
