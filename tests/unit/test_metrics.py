"""The status as metrics, and the small server that answers with them."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.cli.metrics import CONNECTIONS_MOST, Server
from optimizer.report.metrics import metrics
from tests.rig import eventually, optimizer

prometheus = pytest.importorskip("prometheus_client.parser")
NOW_S = 1_000_000.0


def status(**changes: object) -> dict[str, Any]:
    """A status document as far as metrics are made of it."""
    cpu = {
        "organic": 0.1,
        "own": 0.15,
        "setpoint": 0.25,
        "target": 0.25,
        "ceiling": 0.9,
        "mean": 0.24,
        "own_mean": 0.13,
        "coverage": 0.5,
        "reason": "holding",
    }
    disk = {**dict.fromkeys(cpu), "target": 0.0, "reason": "no_target"}
    return {
        "updated_utc_s": NOW_S,
        "started_utc_s": NOW_S - 100,
        "cycle_count": 7,
        "period_days": 30.0,
        "inhibit": None,
        "steal": None,
        "history": {"rows": 12, "ok": True, "path": "/secret/place"},
        "config": {"ok": False, "file": "/secret/place", "message": "a secret"},
        "resources": {"cpu": cpu, "disk": disk},
    } | changes


def values(found: dict[str, Any] | None, age_s: float = 0.0) -> dict[tuple[str, ...], float]:
    """Each sample by its name and labels."""
    told = metrics(found, NOW_S + age_s, 12.0)
    return {(one.name, *labels): value for one in told for labels, value in one.samples}


def test_organic_and_own_are_told_apart() -> None:
    """0.1 by others and 0.15 by us, of one metric with two labels; ratios, not percent."""
    found = values(status())
    assert found["optimizer_utilization_ratio", "cpu", "organic"] == 0.1
    assert found["optimizer_utilization_ratio", "cpu", "own"] == 0.15
    assert found["optimizer_reason", "cpu", "holding"] == 1.0
    assert found["optimizer_cycles_total",] == 7.0


def test_what_is_unknown_has_no_sample() -> None:
    """None is not 0: no sample at all for a disk that is not read; a target of 0 is one."""
    found = values(status())
    assert not [key for key in found if key[0] == "optimizer_utilization_ratio" and "disk" in key]
    assert ("optimizer_steal_ratio",) not in found
    assert found["optimizer_target_ratio", "disk"] == 0.0


def test_a_resource_of_which_nothing_is_told_has_no_sample() -> None:
    """The others are told all the same."""
    whole = status()
    found = values(whole | {"resources": {**whole["resources"], "memory": None}})
    assert 0.25 in found.values()
    assert not any("memory" in labels for _, *labels in found)


@pytest.mark.parametrize(
    ("found", "age_s"), [(None, 0.0), (status(), 13.0), (status(), -13.0), ({}, 0.0)]
)
def test_an_old_status_tells_only_that_nobody_is_well(
    found: dict[str, Any] | None, age_s: float
) -> None:
    """A daemon that hangs holds nothing any more, whatever it wrote last; nor does a clock lie."""
    assert values(found, age_s) == {("optimizer_healthy",): 0.0}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The server on a free port of the loopback, beside a fresh status."""
    path = tmp_path / "status.json"
    path.write_text(json.dumps(status(updated_utc_s=time.time())), encoding="ascii")
    with Server(("127.0.0.1", 0), path) as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        made.shutdown()


def ask(
    server: Server, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, str]:
    """Code and body of an answer."""
    line = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        line.request(method, path, headers={} if host is None else {"Host": host})
        answer = line.getresponse()
        return answer.status, answer.read().decode()
    finally:
        line.close()


def test_the_library_understands_the_answer_and_it_tells_no_places(server: Server) -> None:
    """Types, help and samples parse; nothing of the configuration and no path is in it."""
    code, text = ask(server, "/metrics")
    assert code == 200
    families = {one.name: one for one in prometheus.text_string_to_metric_families(text)}
    assert families["optimizer_cycles"].type == "counter"
    (sample,) = [
        one
        for one in families["optimizer_utilization_ratio"].samples
        if one.labels == {"resource": "cpu", "owner": "own"}
    ]
    assert sample.value == 0.15
    assert all(family.documentation for family in families.values())
    assert "secret" not in text


def test_ready_while_a_daemon_writes_and_alive_without_one(server: Server) -> None:
    """A sidecar is not started anew because the daemon beside it has gone."""
    assert ask(server, "/readyz")[0] == 200
    os.utime(server.path, (1.0, 1.0))
    assert ask(server, "/readyz")[0] == 503
    server.path.unlink()
    assert ask(server, "/readyz")[0] == 503
    assert ask(server, "/healthz")[0] == 200
    assert "optimizer_healthy 0.0" in ask(server, "/metrics")[1]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9108", "[::1]:9108", "localhost:80"])
def test_on_the_loopback_local_names_are_answered(server: Server, host: str) -> None:
    """By whichever name this host is called."""
    assert ask(server, "/healthz", host=host)[0] == 200


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:9108", "10.0.0.7", ""])
def test_on_the_loopback_other_names_are_refused(server: Server, host: str) -> None:
    """A web page that makes its own name lead to 127.0.0.1 gets nothing."""
    assert ask(server, "/metrics", host=host)[0] == 403


def test_only_get_and_three_paths(server: Server) -> None:
    """Nothing can be changed through it."""
    assert ask(server, "/metrics", method="POST")[0] == 501
    assert ask(server, "/metrics", method="DELETE")[0] == 501
    assert ask(server, "/../status.json")[0] == 404


def test_clients_that_say_nothing_do_not_keep_others_out(server: Server) -> None:
    """The idle ones are let go after some seconds, and no more than four have a thread."""
    idle = [
        socket.create_connection(("127.0.0.1", server.server_port))
        for _ in range(3 * CONNECTIONS_MOST)
    ]
    try:

        def answered() -> bool:
            try:
                return ask(server, "/healthz")[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        eventually(answered, deadline_s=20.0, what="an answer once the idle ones are let go")
        # Whoever came before is served by now, if anybody serves him.
        names = [one.name for one in threading.enumerate()]
        assert sum("process_request_thread" in name for name in names) <= CONNECTIONS_MOST + 1
    finally:
        for one in idle:
            one.close()


def test_once_prints_them_for_a_text_file_and_fails_without_a_daemon(tmp_path: Path) -> None:
    """What node_exporter's textfile collector reads; exit 1 tells that nobody is well."""
    done = optimizer("metrics", "--once", "--set", f"WORKSPACE_DIR={tmp_path}")
    assert done.returncode == 1
    assert "optimizer_healthy 0.0" in done.stdout


def test_an_address_that_cannot_be_had_is_said_with_the_remedy(tmp_path: Path) -> None:
    """Not a traceback."""
    done = optimizer("metrics", "--bind", "nowhere", "--set", f"WORKSPACE_DIR={tmp_path}")
    assert done.returncode == 1
    assert "choose another --port or --bind" in done.stderr
