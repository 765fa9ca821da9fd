"""The host's way to its Python packages, for pip inside a rig."""

from __future__ import annotations

import configparser
import io
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
"""In the order in which pip reads them. Source: pip's documentation, Configuration."""
_NETWORK = re.compile(r"(?i)(https?|ftp|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE")
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def network_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Those variables that say how the network is reached."""
    return {key: value for key, value in environment.items() if _NETWORK.fullmatch(key)}


def pip_configuration(environment: Mapping[str, str]) -> str:
    """One pip.conf that says what the host's files and PIP_ variables say together."""
    merged = configparser.RawConfigParser()
    files = [*_FILES, environment.get("PIP_CONFIG_FILE", "")]
    merged.read([Path(name).expanduser() for name in files if name])
    if not merged.has_section("global"):
        merged.add_section("global")
    for key, value in environment.items():
        if key.startswith("PIP_") and key not in {"PIP_CONFIG_FILE", "PIP_REQUIRE_VIRTUALENV"}:
            merged.set("global", key[4:].lower().replace("_", "-"), value)
    text = io.StringIO()
    merged.write(text)
    return text.getvalue()


def local_folders(configuration: str) -> list[Path]:
    """Folders of the host that a pip.conf names as an index or as a place of wheels.

    Of an index the folder above it, where its files usually lie.
    """
    parser = configparser.RawConfigParser()
    parser.read_string(configuration)
    found: dict[Path, None] = {}
    for section in parser.sections():
        for key, value in parser.items(section):
            for word in value.split():
                path = Path(word.removeprefix("file://"))
                if path.is_absolute() and path.is_dir():
                    found[path.parent if key.endswith("index-url") else path] = None
    return [path for path in found if path != Path("/")]


def take_over(root: Path) -> None:
    """Write the host's pip.conf, resolver and certificates into the tree at `root`."""
    text = pip_configuration(os.environ)
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/pip.conf").write_text(text, encoding="utf-8")
    environment = "".join(f'{k}="{v}"\n' for k, v in network_environment(os.environ).items())
    (root / "etc/environment").write_text(environment, encoding="utf-8")
    for name in ("/etc/resolv.conf", "/etc/hosts", _BUNDLE, *_certificates(text)):
        if Path(name).is_file():
            copy = root / name.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, copy)


def _certificates(configuration: str) -> list[str]:
    parser = configparser.RawConfigParser()
    parser.read_string(configuration)
    named = [parser.get(section, "cert", fallback="") for section in parser.sections()]
    named += [os.environ.get(key, "") for key in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    return [name for name in named if name.startswith("/")]
