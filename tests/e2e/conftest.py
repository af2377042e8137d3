"""Real servers on loopback: PostgreSQL, and MLflow over it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HOST = "127.0.0.1"
_DEBIAN = Path("/usr/lib/postgresql")  # where the programs lie that Debian keeps out of the path
_UP_S = 180


def free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def program(name: str) -> str:
    """A program of PostgreSQL's; the test is skipped where it isn't installed."""
    found = shutil.which(name) or next((str(p) for p in sorted(_DEBIAN.glob(f"*/bin/{name}"), reverse=True)), None)
    if found is None:
        pytest.skip(f"PostgreSQL is not installed ({name} is missing): apt install postgresql")
    return found


def _user() -> str | None:
    """PostgreSQL refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server, to which the name of a database is added: `runs` and `searches` are there, empty."""
    pytest.importorskip("psycopg")
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    with tempfile.TemporaryDirectory(prefix="pg-") as scratch:
        if _user():
            shutil.chown(scratch, _user())
        folder, port = f"{scratch}/data", free_port()

        def call(*command: str) -> None:
            subprocess.run(command, check=True, user=_user(), capture_output=True, cwd=scratch, timeout=_UP_S)

        call(initdb, "-D", folder, "-U", "kit", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-h {HOST} -p {port} -k {scratch} -c fsync=off"
        call(pg_ctl, "-D", folder, "-w", "-l", f"{scratch}/log", "-o", options, "start")
        try:
            for name in ("runs", "searches"):
                call(
                    program("psql"),
                    "-h",
                    HOST,
                    "-p",
                    str(port),
                    "-U",
                    "kit",
                    "-d",
                    "postgres",
                    "-c",
                    f"create database {name}",
                )
            yield f"postgresql+psycopg://kit@{HOST}:{port}"
        finally:
            call(pg_ctl, "-D", folder, "-m", "immediate", "stop")


@contextmanager
def serving(arguments: list[str], folder: Path, path: str, **environment: str) -> Iterator[str]:
    """The URL of `mlflow ARGUMENTS` with a port of its own, from when its `path` answers."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", *arguments, "--host", HOST, "--port", str(port), "--workers", "1"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for(f"http://{HOST}:{port}{path}", server, folder / "log")
        yield f"http://{HOST}:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=60)


@pytest.fixture(scope="session")
def mlflow_server(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an MLflow server that keeps its runs in PostgreSQL and hands out artifacts itself."""
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("server")
    where = ["--backend-store-uri", f"{postgres}/runs", "--artifacts-destination", (folder / "artifacts").as_uri()]
    # No jobs: they are seven processes more, for what isn't used here.
    with serving(["server", *where], folder, "/health", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false") as url:
        yield url


@pytest.fixture
def model_server(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of `mlflow models serve` with the challenger `demo` of the store in `home`."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # it looks for uvicorn there
    arguments = ["models", "serve", "-m", "models:/demo@challenger", "--env-manager", "local"]
    store = f"sqlite:///{home / 'mlflow.db'}"
    with serving(
        arguments, tmp_path, "/ping", MLFLOW_TRACKING_URI=store, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false"
    ) as url:
        yield url


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.time() + _UP_S
    while time.time() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"the MLflow server did not come up:\n{log.read_text()[-2000:]}")
