"""A Prometheus server of our own on loopback: what is asked, what is made of it, and its faults."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from optimizer.adapters import prometheus
from optimizer.adapters.node_exporter import Asked, read
from optimizer.adapters.prometheus import Prometheus
from optimizer.errors import SourceError
from optimizer.orders import MemoryMetric
from tests.rig import eventually

START_S = 1_795_046_400
"""A midnight."""
BOOT_S = START_S - 90_000
MOST_POINTS = 11_000
"""What the real server allows."""


class Model:
    """A host with two CPUs, half of one busy and a tenth stolen, from BOOT_S on."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.raw: tuple[int, dict[str, str], bytes] | None = None
        self.rebooted_s = 10**12
        self.silent = range(0)
        self.twice = False
        self.scraped_s = 1

    def values(self, query: str, second: int) -> dict[tuple[tuple[str, str], ...], float]:
        """The value of each series at one second."""
        if second in self.silent or 'instance=~"web-1(:[0-9]+)?"' not in query:
            return {}
        second -= second % self.scraped_s
        up_s = second - (self.rebooted_s if second >= self.rebooted_s else BOOT_S)
        shares = {"user": 0.5, "idle": 1.2, "iowait": 0.2, "steal": 0.1}
        if "node_cpu" in query:
            found = {(("mode", mode),): share * up_s for mode, share in shares.items()}
        elif "node_memory" in query:
            sizes = {"MemTotal": 1000, "MemAvailable": 700, "MemFree": 300, "Buffers": 50}
            sizes |= {"Cached": 350, "SReclaimable": 50, "Shmem": 100}
            named = re.search(r"node_memory_\((.*?)\)", query)
            assert named is not None
            found = {
                (("__name__", f"node_memory_{name}_bytes"),): float(size)
                for name, size in sizes.items()
                if name in named[1].split("|")
            }
        else:
            mounts = {"/": (100, 50, 40), "/data": (100, 20, 20), "/run": (9, 9, 9)}
            found = {
                (("__name__", f"node_filesystem_{name}_bytes"), ("mountpoint", mount)): float(size)
                for mount, sizes in mounts.items()
                for name, size in zip(("size", "free", "avail"), sizes, strict=True)
                if f'"{mount}' in query or f"|{mount}" in query
            }
        names = ("web-1:9100", "web-1:9200") if self.twice else ("web-1:9100",)
        return {(*of, ("instance", name)): v for of, v in found.items() for name in names}

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        if self.raw is not None:
            return self.raw
        parts = urlsplit(path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path.endswith("/label/instance/values"):
            return 200, {}, json.dumps({"status": "success", "data": ["web-1:9100"]}).encode()
        self.asked.append(asked)
        start, end, step = (int(asked[key]) for key in ("start", "end", "step"))
        if (end - start) // step + 1 > MOST_POINTS:
            error = {"status": "error", "error": "exceeded maximum resolution of 11,000 points"}
            return 400, {}, json.dumps(error).encode()
        series: dict[tuple[tuple[str, str], ...], list[tuple[int, str]]] = {}
        for second in range(start, end + 1, step):
            for labels, value in self.values(asked["query"], second).items():
                series.setdefault(labels, []).append((second, repr(value)))
        result = [{"metric": dict(of), "values": values} for of, values in series.items()]
        found = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        return 200, {}, json.dumps(found).encode()


@contextmanager
def serving(model: Model) -> Iterator[str]:
    """The address of a server that answers as the model says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = model.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def model() -> Model:
    """The host."""
    return Model()


@pytest.fixture
def url(model: Model) -> Iterator[str]:
    """The address of its server."""
    with serving(model) as address:
        yield address


def asked(**changes: Any) -> Asked:
    """What is usually asked for."""
    usual: dict[str, Any] = {
        "instance": "web-1",
        "step_s": 60,
        "metric": MemoryMetric.AVAILABLE,
        "count_steal": False,
        "mounts": ("/", "/data"),
    }
    return Asked(**(usual | changes))


def test_a_row_a_minute_of_all_three_resources(url: str) -> None:
    """The CPU from what its counters gain, memory and disk as they are; nothing is ours."""
    rows = read(Prometheus(url), asked(), START_S + 1, START_S + 600)
    assert [row.utc_s for row in rows] == list(range(START_S + 60, START_S + 601, 60))
    for row in rows:
        # 0.5 of 2.0 CPU seconds a second are neither idle, waiting nor stolen.
        assert row.cpu == pytest.approx(0.25)
        assert row.cpu_steal == pytest.approx(0.05)
        assert row.memory == pytest.approx(0.3)
        # (50 + 80) used of (90 + 100) that others than root may use.
        assert row.disk == pytest.approx(130 / 190)
        assert (row.span_s, row.cpu_own, row.memory_own, row.disk_own) == (60.0, 0.0, 0.0, 0.0)
        assert (row.cpu_setpoint, row.cpu_reason) == (None, None)


@pytest.mark.parametrize(
    ("metric", "ratio"),
    [
        (MemoryMetric.AVAILABLE, 0.3),
        (MemoryMetric.FREE, 0.7),
        # 1000 - 300 - 50 - 350 - 50 + 100
        (MemoryMetric.NOCACHE, 0.35),
    ],
)
def test_memory_is_counted_by_the_metric(url: str, metric: MemoryMetric, ratio: float) -> None:
    """Each of the three formulas, exactly."""
    (row,) = read(Prometheus(url), asked(metric=metric), START_S, START_S + 30)
    assert row.memory == pytest.approx(ratio)


def test_steal_counts_as_asked_and_no_mount_asks_for_no_disk(url: str, model: Model) -> None:
    """CPU_COUNT_STEAL; and without a disk to look at there are two questions."""
    (row,) = read(Prometheus(url), asked(count_steal=True, mounts=()), START_S, START_S)
    assert row.cpu == pytest.approx(0.3)
    assert row.disk is None
    assert row.disk_own is None
    assert len(model.asked) == 2


def test_a_gap_and_a_reboot_are_unknown(url: str, model: Model) -> None:
    """Two minutes without a value; then counters that begin at 0 again."""
    model.silent = range(START_S + 100, START_S + 200)
    model.rebooted_s = START_S + 290
    rows = {
        row.utc_s - START_S: row for row in read(Prometheus(url), asked(), START_S, START_S + 420)
    }
    assert sorted(rows) == [0, 60, 240, 300, 360, 420]
    assert rows[240].cpu is None  # nothing is known of the minute before
    assert rows[240].memory is not None
    assert rows[300].cpu is None
    assert rows[300].cpu_own is None
    assert rows[360].cpu == pytest.approx(0.25)


def test_scrapes_rarer_than_steps_give_longer_rows(url: str, model: Model) -> None:
    """Each two minutes a scrape: what the server repeats in between is no row of its own."""
    model.scraped_s = 120
    rows = read(Prometheus(url), asked(), START_S + 60, START_S + 600)
    assert [(row.utc_s - START_S, row.span_s) for row in rows] == [
        *((120, 120.0), (240, 120.0), (360, 120.0), (480, 120.0), (600, 120.0)),
    ]
    assert {round(row.cpu or 0.0, 9) for row in rows} == {0.25}


@pytest.mark.parametrize(("step_s", "seconds"), [(10, 90_000), (60, 266_400), (3600, 266_400)])
def test_no_answer_has_more_points_than_the_server_allows(
    url: str, model: Model, step_s: int, seconds: int
) -> None:
    """A day or three and a bit, at each step; the parts meet without a gap or a double."""
    end_s = START_S + seconds
    rows = read(Prometheus(url), asked(step_s=step_s, mounts=()), START_S, end_s)
    assert [row.utc_s for row in rows] == list(range(START_S, end_s + 1, step_s))
    assert {round(row.cpu or 0.0, 9) for row in rows} == {0.25}
    for one in model.asked:
        assert (int(one["end"]) - int(one["start"])) / step_s < 10_000


def test_an_instance_is_matched_as_a_whole(url: str, model: Model) -> None:
    """What is special in a regular expression or in PromQL is only itself."""
    with pytest.raises(SourceError, match=r"no node_exporter metrics .*'web-1:9100'"):
        read(Prometheus(url), asked(instance='a.b"\\{}'), START_S, START_S)
    assert 'instance=~"a\\\\.b\\"\\\\\\\\\\\\{\\\\}(:[0-9]+)?"' in model.asked[0]["query"]


def test_two_instances_of_a_name_are_refused(url: str, model: Model) -> None:
    """Which of them is this host cannot be told."""
    model.twice = True
    with pytest.raises(SourceError, match="2 instances match 'web-1': 'web-1:9100', 'web-1:9200'"):
        read(Prometheus(url), asked(), START_S, START_S)


def _series(content: bytes) -> tuple[int, dict[str, str], bytes]:
    """An answer with one series of that metric and these values."""
    return 200, {}, b'{"status": "success", "data": {"result": [{"metric": %b}]}}' % content


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ((302, {"Location": "file:///etc/passwd"}, b""), "redirects to 'file:///etc/passwd'"),
        ((307, {"Location": "http://127.0.0.1:1/"}, b""), "which is not followed"),
        ((401, {}, b""), "status 401; .* without a password"),
        ((400, {}, b'{"error": "parse error"}'), "status 400: 'parse error'"),
        ((500, {}, b"[1]"), "status 500"),
        ((200, {}, b"<html>"), "is no JSON"),
        ((200, {}, b"[" * 100_000), "is no JSON"),
        ((200, {}, b"{}"), "not that of Prometheus"),
        ((200, {}, b'{"status": "success"}'), "not that of Prometheus"),
        ((200, {}, b'{"status": "success", "data": {"result": [{}]}}'), "not that of Prometheus"),
        (
            (
                200,
                {},
                b'{"status": "success", "data": {"result": [{"metric": {}, "values": [3]}]}}',
            ),
            "not that of Prometheus",
        ),
        (_series(b'[], "values": []'), "the metric \\[\\] is no set of labels"),
        (_series(b'{"cpu": 1}, "values": []'), "not that of Prometheus"),
        (_series(b'{}, "values": [[1e999, "1"]]'), "not that of Prometheus"),
        ((200, {"Content-Length": "99"}, b"{}"), "cannot reach|no JSON|not that of"),
    ],
)
def test_an_answer_that_is_none_is_named(
    url: str, model: Model, raw: tuple[int, dict[str, str], bytes], words: str
) -> None:
    """The address, what came instead, and what to look at."""
    model.raw = raw
    with pytest.raises(SourceError, match=words) as caught:
        read(Prometheus(url), asked(), START_S, START_S)
    assert url in str(caught.value)


def test_an_answer_without_end_is_cut(
    url: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the bound is not kept in memory."""
    monkeypatch.setattr(prometheus, "LARGEST_BYTES", 1 << 16)
    model.raw = (200, {}, b" " * (1 << 18))
    with pytest.raises(SourceError, match="larger than"):
        read(Prometheus(url), asked(), START_S, START_S)


def test_a_server_that_does_not_answer_is_given_up() -> None:
    """A port that nobody listens on; and one that takes the call and says nothing."""
    with pytest.raises(SourceError, match=r"cannot reach http://127.0.0.1:1: .*refused"):
        read(Prometheus("http://127.0.0.1:1"), asked(), START_S, START_S)
    model, done = Model(), threading.Event()
    model.answer = lambda _path: (200, {}, b"{}" * done.wait(20))  # type: ignore[method-assign]
    with serving(model) as url:
        try:
            with pytest.raises(SourceError, match=r"cannot reach .*timed out"):
                read(Prometheus(url, timeout_s=0.2), asked(), START_S, START_S)
        finally:
            done.set()


@pytest.mark.parametrize(
    "address",
    [
        *("", "localhost:9090", "file:///etc/passwd", "ftp://host/", "http://", "http://a b/"),
        *("http://host:x/", "http://[::1", "http://me:secret@host/", "http://host/?a=1"),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """Nothing is opened; what to write is said, and no password is shown."""
    with pytest.raises(SourceError, match="write for example") as caught:
        Prometheus(address)
    assert "secret" not in str(caught.value)


REAL = (shutil.which("prometheus"), shutil.which("prometheus-node-exporter"))


@pytest.mark.long
@pytest.mark.skipif(None in REAL, reason="prometheus and its node_exporter are not installed")
def test_the_real_server_is_understood(tmp_path: Path) -> None:
    """Figures of this host by its own node_exporter, all three resources of it."""
    ports = (19_190, 19_191)
    (tmp_path / "p.yml").write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: node\n"
        f"  static_configs: [{{targets: ['127.0.0.1:{ports[0]}']}}]\n"
    )
    commands = (
        [str(REAL[1]), f"--web.listen-address=127.0.0.1:{ports[0]}"],
        [
            *(str(REAL[0]), f"--config.file={tmp_path}/p.yml"),
            *(f"--storage.tsdb.path={tmp_path}/db", f"--web.listen-address=127.0.0.1:{ports[1]}"),
        ],
    )
    running = [subprocess.Popen(c, stderr=subprocess.DEVNULL) for c in commands]
    try:
        server = Prometheus(f"http://127.0.0.1:{ports[1]}")

        def found() -> list[Any]:
            try:
                now_s = time.time()
                whole = asked(instance="127.0.0.1", step_s=10, mounts=("/",))
                return [row for row in read(server, whole, now_s - 120, now_s) if row.cpu]
            except SourceError:
                return []

        row = eventually(found, deadline_s=60)[-1]
        assert 0 < row.cpu <= 1
        assert 0 < row.memory < 1
        usage = os.statvfs("/")
        used = usage.f_blocks - usage.f_bfree
        assert row.disk == pytest.approx(used / (used + usage.f_bavail), abs=0.02)
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
