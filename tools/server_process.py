"""A spade-server of a build folder on free localhost ports, for the tools that load and kill it."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

START_SECONDS = 300
STOP_SECONDS = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def read_memory(pid):
    """Resident memory in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+)", status, re.M).group(1)) / 1024


def read_cpu_seconds(pid):
    """Of all its threads, ended ones too."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ServerProcess:
    def __init__(self, build, model, arguments, binary=None):
        self._command = [str(binary or pathlib.Path(build) / "server/spade-server"),
                         "--model", model, *arguments]
        self.port, self.metrics_port = free_port(), free_port()
        self.target = f"127.0.0.1:{self.port}"
        with tempfile.NamedTemporaryFile("w", prefix="spade-server-", suffix=".log",
                                         delete=False) as log:
            self.log = log.name
        self.start()

    def start(self):
        """The first time, or again at the same ports after the process ended."""
        with open(self.log, "a") as log:
            self._process = subprocess.Popen(
                [*self._command, "--listen", self.target,
                 "--metrics-listen", f"127.0.0.1:{self.metrics_port}"],
                stdout=log, stderr=subprocess.STDOUT)
        self.pid = self._process.pid

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics",
                                    timeout=20) as reply:
            return reply.read().decode()

    def wait_until_serving(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise SystemExit(f"spade-server ended with {self._process.returncode}: {self.log}")
            try:
                if re.search(r"^spade_serving 1$", self.metrics(), re.M):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"spade-server did not load its model in time: {self.log}")

    def ended(self):
        """Its exit code; None while it runs."""
        return self._process.poll()

    def stop(self, number=signal.SIGTERM):
        """Its exit code after the signal; -9 if it had to be killed."""
        self._process.send_signal(number)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
