"""Asks a Prometheus server, through its HTTP API.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

from __future__ import annotations

import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.adapters.history_text import shown
from optimizer.errors import SourceError

TIMEOUT_S = 30.0
"""For the connection, for each part of an answer, and for the whole of it."""
LARGEST_BYTES = 64 * 2**20
"""A day of a host is below 2 MB."""
_PART_BYTES = 1 << 16
_SCHEMES = ("http", "https")

Series = tuple[Mapping[str, str], Mapping[int, float]]
"""The labels, and the values by second."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is asked for is what the operator has named, and nothing else."""

    def redirect_request(self, *_: object) -> None:
        return None


class Prometheus:
    """One server; raises SourceError with its address, what it said and what to do."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._base = checked(url)
        self._timeout_s = timeout_s
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _NoRedirect(),
        ):
            self._opener.add_handler(handler)

    def series(self, query: str, from_s: int, to_s: int, step_s: int) -> list[Series]:
        """All series of a query, from one second up to another."""
        found = self._ask(
            "query_range", {"query": query, "start": from_s, "end": to_s, "step": step_s}
        )
        try:
            return [(_labels(one["metric"]), _points(one["values"])) for one in found["result"]]
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise SourceError(
                f"{self._base}: the answer is not that of Prometheus ({type(exc).__name__}: "
                f"{exc}); is that its address?"
            ) from exc

    def instances(self) -> list[str]:
        """The instances that it knows, to be shown to people."""
        found = self._ask("label/instance/values", {})
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    def _ask(self, what: str, parameters: Mapping[str, object]) -> Any:
        url = f"{self._base}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with self._opener.open(url, timeout=self._timeout_s) as response:
                content = self._read(response)
        except urllib.error.HTTPError as exc:
            with exc:
                raise SourceError(f"{self._base}: {_refusal(exc)}") from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            cause = getattr(exc, "reason", exc)
            raise SourceError(
                f"cannot reach {self._base}: {cause or type(exc).__name__}; is Prometheus running "
                "there, and the address right?"
            ) from exc
        try:
            found = json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise SourceError(
                f"{self._base}: the answer is no JSON ({shown(content[:40])}); is that the address "
                "of Prometheus?"
            ) from exc
        if not isinstance(found, dict) or found.get("status") != "success":
            raise SourceError(
                f"{self._base}: the answer {shown(content[:80])} is not that of Prometheus; is "
                "that its address?"
            )
        return found.get("data")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The whole body, within a size and a time."""
        end_s, parts, size = time.monotonic() + self._timeout_s, [], 0
        while part := response.read1(_PART_BYTES):
            parts.append(part)
            size += len(part)
            if size > LARGEST_BYTES:
                raise SourceError(
                    f"{self._base}: an answer is larger than {LARGEST_BYTES >> 20} MB; name one "
                    "host with --instance, or take a larger --step"
                )
            if time.monotonic() > end_s:
                raise TimeoutError(f"the answer has not ended after {self._timeout_s:g} s")
        return b"".join(parts)


def checked(url: str) -> str:
    """The address without a slash at its end; raises SourceError when it cannot be one."""
    remedy = "write for example http://127.0.0.1:9090"
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or any(char.isspace() or not char.isprintable() for char in url):
        raise SourceError(f"{shown(url)} is no address of a Prometheus server; {remedy}")
    if parts.username is not None or parts.query or parts.fragment:
        raise SourceError(
            f"the address of {parts.hostname} may have neither name, password, ? nor #; {remedy}"
        )
    return url.rstrip("/")


def _labels(metric: object) -> Mapping[str, str]:
    """The labels of a series; raises TypeError."""
    if not isinstance(metric, dict) or not all(isinstance(one, str) for one in metric.values()):
        raise TypeError(f"the metric {shown(metric)} is no set of labels")
    return metric


def _points(values: Sequence[tuple[float, str]]) -> dict[int, float]:
    """The finite values by second."""
    found = {}
    for second, text in values:
        value = float(text)
        if math.isfinite(value):
            found[round(float(second))] = value
    return found


def _refusal(error: urllib.error.HTTPError) -> str:
    """What a server said that did not do as it was asked."""
    if 300 <= error.code < 400:
        return (
            f"it redirects to {shown(error.headers.get('Location', ''))}, which is not followed; "
            "give the final address"
        )
    try:
        said = json.loads(error.read(_PART_BYTES)).get("error", "")
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        said = ""
    return (
        f"status {error.code}{f': {shown(said)}' if said else ''}; is that the address of "
        "Prometheus, and may it be asked without a password?"
    )
