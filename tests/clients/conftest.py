"""The real server on the bundled model, started once for all client tests."""
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/tickets-5m"
SERVER = ROOT / os.environ.get("SPADE_BUILD", "build") / "server/spade-server"
LOGS = ROOT / "build/clients-logs"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(name: str, command: list[str]) -> subprocess.Popen:
    """A process whose output goes to build/clients-logs/NAME.log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with open(LOGS / f"{name}.log", "wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def stop(process: subprocess.Popen) -> int:
    process.terminate()
    try:
        return process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def wait_for_log(name: str, text: str, process: subprocess.Popen, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        log = (LOGS / f"{name}.log").read_text(errors="replace")
        if text in log:
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{name} did not say {text!r}:\n{log}")


@contextlib.contextmanager
def running_server(name: str, model: pathlib.Path, *flags: str, metrics: str = "off"):
    """host:port of a server that has loaded its model."""
    address = f"127.0.0.1:{free_port()}"
    process = start(name, [
        str(SERVER), "--model", str(model), "--listen", address,
        "--metrics-listen", metrics, "--log-level", "debug", "--kv-memory", "64MiB", *flags,
    ])
    try:
        wait_for_log(name, "serving tickets-5m", process)
        yield address
        assert process.poll() is None, "the server died"
    finally:
        assert stop(process) == 0


@pytest.fixture(scope="session")
def server():
    with running_server("server", MODEL) as address:
        yield address


@pytest.fixture(scope="session")
def questions() -> list[dict]:
    """{"prompt", "label"} of short inboxes, which the model mostly gets right."""
    with open(MODEL / "calibration.jsonl", encoding="utf-8") as lines:
        return [q for q in map(json.loads, lines) if q["k"] == 1][:40]


@pytest.fixture(scope="session")
def labels() -> list[str]:
    return [" " + area for area in
            "bank card food home car travel tools work chat settings".split()]
