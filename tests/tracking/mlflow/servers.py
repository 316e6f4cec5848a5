"""Real MLflow servers of these tests, and a proxy before them that loses, delays and refuses."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serving(*words, environment, folder=None):
    """The address of an MLflow command that serves, once it is healthy; it is killed at the end. folder: to run in."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def mlflow_server(folder, backend=None):
    """The address of a real MLflow server that takes the files of runs itself. backend: URI of its database."""
    words = ["--backend-store-uri", backend or f"sqlite:///{folder}/mlflow.db", "--serve-artifacts"]
    words += ["--artifacts-destination", str(folder / "files"), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving("server", *words, environment=environment) as address:
        yield address


class Proxy(ThreadingHTTPServer):
    """Passes requests on. `fate` is asked about each.

    "" passes, "request" and "answer" lose it, a number of seconds passes it after these, "403" refuses it so.
    """

    daemon_threads = True

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Handler)
        self.server, self.fate, self.calls = server, lambda call: "", []
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that has gone away is what is wanted."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Nothing."""

    def do(self):
        proxy = self.server
        body = self._body()
        call = (self.command, self.path, body)
        proxy.calls.append(call)
        fate = proxy.fate(call)
        if isinstance(fate, float):
            time.sleep(fate)
            fate = ""
        if fate.isdecimal():
            self._answer(int(fate), "application/json", b'{"error_code": "TRY_LATER", "message": "not now"}')
            return
        if fate != "request":
            drop = ("Host", "Transfer-Encoding", "Content-Length")
            headers = {name: value for name, value in self.headers.items() if name not in drop}
            request = urllib.request.Request(proxy.server + self.path, body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request) as answer:
                    status, kind, content = answer.status, answer.headers["Content-Type"], answer.read()
            except urllib.error.HTTPError as error:
                status, kind, content = error.code, error.headers["Content-Type"], error.read()
        if fate:
            self.close_connection = True
            return
        self._answer(status, kind or "text/plain", content)

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status, kind, content):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do
