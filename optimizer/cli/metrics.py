"""`optimizer metrics`: the status for Prometheus, from a process beside the daemon.

The daemon itself listens nowhere: this one reads its status.json at each
request, may run as another user or in another container, and may die.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.cli.common import EXIT_FAILED, EXIT_OK, as_far_as_good, say_faults
from optimizer.cli.common import define as define_common
from optimizer.cli.status import STALE_S
from optimizer.directories import STATUS_NAME
from optimizer.errors import ConfigError
from optimizer.settings_keys import is_loopback

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PORT = 9108
REQUEST_S = 3.0
"""A client that sends or takes nothing for so long is let go."""
CONNECTIONS_MOST = 4
"""One Prometheus server and two probes need three."""


def define(parser: argparse.ArgumentParser, _name: str) -> None:
    """Add this command's options."""
    define_common(parser)
    parser.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="default 127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0: any free one")
    parser.add_argument(
        "--once",
        action="store_true",
        help="print the metrics and end, for node_exporter's textfile collector",
    )
    parser.epilog = (
        "Answers GET /metrics, /healthz (200 while this process works) and /readyz (200 while a "
        "healthy daemon runs). Needs the extra: pip install cloud-resource-optimizer[metrics]"
    )
    parser.set_defaults(execute=execute)


def execute(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; with --once print, exit 1 when no healthy daemon runs."""
    try:
        import prometheus_client
    except ImportError as exc:
        print(
            f"optimizer: {exc}; install it with: {sys.executable} -m pip install prometheus-client",
            file=sys.stderr,
        )
        return EXIT_FAILED
    try:
        path = as_far_as_good(args).directories.runtime / STATUS_NAME
    except ConfigError as exc:
        return say_faults(exc)
    if args.once:
        print(prometheus_client.generate_latest(_registry(path)).decode(), end="")
        return EXIT_OK if _healthy(path) else EXIT_FAILED
    try:
        server = Server((args.bind, args.port), path)
    except (OSError, OverflowError, ValueError) as exc:
        print(
            f"optimizer: cannot listen on {args.bind}:{args.port}: {exc}; choose another --port "
            "or --bind",
            file=sys.stderr,
        )
        return EXIT_FAILED
    with server:
        print(f"metrics on http://{args.bind}:{server.server_port}/metrics", flush=True)
        server.serve_until_told()
    return EXIT_OK


def _registry(path: Path) -> CollectorRegistry:
    """A registry with our metrics alone: nothing about this process."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

    from optimizer.adapters import status_file
    from optimizer.report.metrics import metrics

    class FromStatus(Collector):
        """Reads the status anew at each request."""

        def collect(self) -> Iterator[Metric]:
            for one in metrics(status_file.read(path), time.time(), STALE_S):
                kind = CounterMetricFamily if one.counter else GaugeMetricFamily
                family = kind(one.name, one.text, labels=one.labels)
                for labels, value in one.samples:
                    family.add_metric(labels, value)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(FromStatus())
    return registry


def _healthy(path: Path) -> bool:
    try:
        return abs(time.time() - path.stat().st_mtime) <= STALE_S
    except OSError:
        return False


class Server(ThreadingHTTPServer):
    """Answers a few clients at once and lets slow ones go."""

    daemon_threads = True
    request_queue_size = 8

    def __init__(self, address: tuple[str, int], path: Path) -> None:
        self.path = path
        self.registry = _registry(path)
        self.only_local = is_loopback(address[0])
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = threading.BoundedSemaphore(CONNECTIONS_MOST)
        super().__init__(address, _Handler)

    def serve_until_told(self) -> None:
        """Serve in a thread of its own; SIGTERM and Ctrl-C end it."""
        told = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: told.set())
        signal.signal(signal.SIGINT, lambda *_: told.set())
        serving = threading.Thread(target=self.serve_forever, daemon=True)
        serving.start()
        told.wait()
        self.shutdown()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread, unless too many run: then the connection is closed."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = REQUEST_S
    server_version = "optimizer"
    sys_version = ""

    def do_GET(self) -> None:
        """The three paths; all others do not exist."""
        if self.server.only_local and not _is_local(self.headers.get("Host", "")):
            # A page in a browser on this host could ask under a name of its own (DNS rebinding).
            self._answer(403, "text/plain", b"this address answers to localhost alone\n")
        elif self.path == "/metrics":
            self._answer(200, *self._metrics())
        elif self.path == "/healthz":
            self._answer(200, "text/plain", b"ok\n")
        elif self.path == "/readyz":
            ready = _healthy(self.server.path)
            text = b"ok\n" if ready else b"no healthy daemon: see `optimizer status`\n"
            self._answer(200 if ready else 503, "text/plain", text)
        else:
            self._answer(404, "text/plain", b"there are /metrics, /healthz and /readyz\n")

    def _metrics(self) -> tuple[str, bytes]:
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        return content_type, encode(self.server.registry)

    def _answer(self, code: int, content_type: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests are not logged: one each 15 s for ever tells nothing."""


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    try:
        return is_loopback(name.strip("[]"))
    except ValueError:
        return False
