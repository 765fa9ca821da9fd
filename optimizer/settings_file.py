"""Reads a dotenv file into entries that know their line, and expands their variables."""

from __future__ import annotations

import difflib
import io
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from optimizer.settings_keys import KEYS, LEGACY_KEYS

MOST_FILE_BYTES = 1 << 16
"""A configuration with every key and its comments is a small part of this."""

_MOST_KEY_CHARS = 60
_NEWLINE = re.compile(r"\r\n|\n|\r")
_VARIABLE = re.compile(r"\$\{([^}:]*)(?::-([^}]*))?\}")
_COMMENT_FOR_VALUE = re.compile(r"\s*(?:export\s+)?[^=\s]+\s*=[ \t]+#")

Stamp = tuple[int, int, int]
"""Modification time in ns, size in bytes and inode: another stamp means another content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key as somebody wrote it.

    `text` is what is shown, `value` what counts: they differ where variables
    were expanded. `origin` is "file", "environment" or "command line";
    `where` says the same to people, with the line in the file.
    """

    text: str
    value: str
    origin: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a file says: its known keys by their first lines, and what is wrong with the rest."""

    entries: dict[str, Entry] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stamp: Stamp | None = None


def stamp_of(status: os.stat_result) -> Stamp:
    """The part of a stat(2) result that tells one content from another."""
    return status.st_mtime_ns, status.st_size, status.st_ino


def is_known(key: str) -> bool:
    """True for a key that may be written, with or without effect."""
    return key in KEYS or key in LEGACY_KEYS


def unknown(key: str, where: str) -> str:
    """The fault of a key that does not exist. Its value may be a secret and is not shown."""
    close = difflib.get_close_matches(key.upper(), [*KEYS, *LEGACY_KEYS], n=1)
    remedy = f"did you mean {close[0]}?" if close else "remove it"
    return f"{key_part(key)} ({where}): unknown key; {remedy}"


def key_part(text: str) -> str:
    """The start of a text that cannot be a secret: up to the first "=", ":" or space."""
    key = re.split(r"[=:\s]", text.strip(), maxsplit=1)[0]
    return (key if key.isprintable() else ascii(key))[:_MOST_KEY_CHARS]


def read(path: Path) -> Written:
    """The entries of a dotenv file, and every fault of its form; never raises.

    A file that cannot be read at all, is not UTF-8 or has NUL bytes is one
    fault. The last of equal keys wins, with a warning.
    """
    try:
        data, status = _bytes(path)
        text = _text(path, data)
    except _UnreadableError as exc:
        return Written(faults=[str(exc)])
    written = Written(stamp=stamp_of(status))
    lines: dict[str, list[int]] = {}
    for line, key, value in _bindings(text):
        where = f"{path} line {line}"
        if value is None:
            written.faults.append(
                f"{key} ({where}): is not KEY=VALUE; correct the line, or begin it with #"
            )
        elif not is_known(key):
            written.faults.append(unknown(key, where))
        else:
            lines.setdefault(key, []).append(line)
            written.entries[key] = Entry(text=value, value=value, origin="file", where=where)
    for key, numbers in lines.items():
        if len(numbers) > 1:
            listed = f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
            written.warnings.append(f"{key} ({path} lines {listed}): set again; the last counts")
    secret = written.entries.get("GLANCES_PASSWORD")
    open_to_all = sys.platform != "win32" and status.st_mode & stat.S_IROTH
    if secret and secret.value.strip() and open_to_all:
        written.warnings.append(
            f"GLANCES_PASSWORD ({secret.where}): every user can read this file; chmod o-r {path}"
        )
    return written


class _UnreadableError(Exception):
    """The file as a whole is of no use; the message is the fault."""


def _bytes(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        kind = os.stat(path).st_mode
        # A pipe would block the daemon; /dev/null is a usual way to say "no file".
        if not stat.S_ISREG(kind) and not stat.S_ISCHR(kind):
            what = "a directory" if stat.S_ISDIR(kind) else "not a regular file"
            raise _UnreadableError(f"{path}: is {what}; name a file of KEY=VALUE lines")
        with path.open("rb") as stream:
            data, status = stream.read(MOST_FILE_BYTES + 1), os.fstat(stream.fileno())
    except FileNotFoundError as exc:
        raise _UnreadableError(f"{path}: does not exist; create it, or name another") from exc
    except OSError as exc:
        remedy = "make it readable for the user that runs this, or name another"
        raise _UnreadableError(f"{path}: cannot be read ({exc.strerror}); {remedy}") from exc
    except ValueError as exc:
        raise _UnreadableError(f"{str(path)!a}: is not the name of a file") from exc
    if len(data) > MOST_FILE_BYTES:
        raise _UnreadableError(f"{path}: is larger than {MOST_FILE_BYTES} bytes; name another file")
    return data, status


def _text(path: Path, data: bytes) -> str:
    remedy = "save the file as UTF-8"
    data = data.removeprefix(b"\xef\xbb\xbf")  # older parsers would take it into the first key
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        found = f"byte 0x{data[exc.start]:02x}"
        raise _UnreadableError(f"{path} line {line}: is not UTF-8 ({found}); {remedy}") from exc
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise _UnreadableError(f"{path} line {line}: has a NUL byte; {remedy}")
    return text


def _bindings(text: str) -> list[tuple[int, str, str | None]]:
    """Line, key and value of each statement; None for a value where the line has no such form."""
    # Imported here: only reading a file needs it. Its parser, not dotenv_values(), because
    # that one knows no lines, and only logs what it cannot read.
    from dotenv.parser import parse_stream  # noqa: PLC0415 - see above

    found: list[tuple[int, str, str | None]] = []
    for binding in parse_stream(io.StringIO(text, newline="")):
        written = binding.original.string
        blank = written[: len(written) - len(written.lstrip())]
        line = binding.original.line + len(_NEWLINE.findall(blank))
        if binding.error or (binding.key is not None and binding.value is None):
            found.append((line, key_part(written), None))
        elif binding.key is not None and binding.value is not None:
            # Up to 1.2.2 the parser takes the comment of `KEY= # comment` for the value.
            comment = _COMMENT_FOR_VALUE.match(written)
            found.append((line, binding.key, "" if comment else binding.value))
    return found


def expand(entries: dict[str, Entry], environ: Mapping[str, str]) -> dict[str, str]:
    """Replace ${NAME} and ${NAME:-default} in the entries of the file; key -> fault.

    `entries` are those that count, and are changed in place. A name stands for
    a key that comes from elsewhere than the file or from a line above, or for
    a variable of the environment; a secret cannot be named, nor is one expanded. A
    value that names WORKSPACE_DIR while that is empty becomes empty itself: the
    older scripts shipped LOG_DIR=${WORKSPACE_DIR}/logs, which would be /logs.
    """
    faults: dict[str, str] = {}
    done = {
        name: entry.value
        for name, entry in entries.items()
        if entry.origin != "file" and not _is_secret(name)
    }
    for name in sorted(entries, key=lambda name: name != "WORKSPACE_DIR"):
        entry = entries[name]
        if entry.origin == "file" and name in KEYS and not _is_secret(name):
            try:
                value = _replaced(entry.value, done, environ)
            except LookupError as exc:
                value = ""
                faults[name] = (
                    f"{name}={entry.text} ({entry.where}): refers to {exc.args[0]}, which is set "
                    "neither in the environment nor on a line above; write the value itself"
                )
            entries[name] = Entry(
                text=entry.text, value=value, origin=entry.origin, where=entry.where
            )
            done[name] = value
        if name == "WORKSPACE_DIR":
            done[name] = _absolute(done[name])
    return faults


def _replaced(text: str, done: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The text with its variables replaced; LookupError names the first one that is not set."""
    parts: list[str] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        name, default = match[1], match[2]
        value = done.get(name, "")
        if not value and name not in KEYS:
            value = environ.get(name, "")
        value = value or default or ""
        if not value and name == "WORKSPACE_DIR":
            return ""
        if not value and default is None:
            raise LookupError(match[0])
        parts += [text[end : match.start()], value]
        end = match.end()
    return "".join([*parts, text[end:]])


def _absolute(workspace: str) -> str:
    try:
        return str(KEYS["WORKSPACE_DIR"].rule.parse(workspace.strip())) if workspace.strip() else ""
    except ValueError:
        return ""


def _is_secret(name: str) -> bool:
    return name in KEYS and KEYS[name].rule.secret
