"""spade-server, a Prometheus that scrapes it and a load on it, on free ports of localhost."""

import json
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/tickets-7m"
LABELS = " bank, card, food, home, car, travel, tools, work, chat, settings"
START_SECONDS = 120
MOST_MESSAGES = 12  # as many as in the prompts of the certificate for generation

CONFIG = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: ["{rules}/*.yaml"]
scrape_configs:
  - job_name: spade
    static_configs: [{{targets: ["{target}"]}}]
  - job_name: prometheus
    static_configs: [{{targets: ["{own}"]}}]
"""


class StackError(RuntimeError):
    """Something of the stack is missing, or did not start."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get_json(url):
    with urllib.request.urlopen(url, timeout=20) as reply:
        return json.load(reply)


class Prometheus:
    """The HTTP API of a Prometheus."""

    def __init__(self, url):
        self.url = url.rstrip("/")

    def _ask(self, path, **parameters):
        reply = get_json(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        return reply["data"]

    def query_range(self, expr, start, end, step):
        """Series as {labels, values: [(time, value)]}, values that are not numbers left out."""
        data = self._ask("query_range", query=expr, start=start, end=end, step=step)
        series = []
        for each in data["result"]:
            values = [(float(t), float(v)) for t, v in each["values"] if float(v) == float(v)]
            if values:
                series.append({"labels": each["metric"], "values": values})
        return series

    def names(self):
        return set(self._ask("label/__name__/values"))

    def up_targets(self):
        targets = self._ask("targets", state="active")["activeTargets"]
        return [t["labels"]["job"] for t in targets if t["health"] == "up"]

    def rules(self):
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]


class Stack:
    """A context manager: all of it stops at the end."""

    def __init__(self, build="build", prometheus=True):
        self.build = ROOT / build
        self.with_prometheus = prometheus
        self.folder = tempfile.TemporaryDirectory(prefix="spade-stack-")
        self.target = f"127.0.0.1:{free_port()}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self.processes = []
        self.prometheus = Prometheus(f"http://127.0.0.1:{free_port()}")

    def __enter__(self):
        try:
            self._start("server/spade-server", "--model", MODEL, "--listen", self.target,
                        "--metrics-listen", self.metrics, "--shadow-share", "0.2")
            if self.with_prometheus:
                self._start_prometheus()
            self._wait_for("the server", self._is_up)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(60)
        self.folder.cleanup()

    def load(self, seconds, rate):
        """Starts decisions of every mode and generations; returns the process."""
        return self._start(
            "loadtest/spade-loadtest", "--target", self.target, "--rate", rate,
            "--duration", seconds, "--decide", "0.7", "--prompts", self._prompts(),
            "--labels", LABELS, "--mode", "exact,verified,fast,fast", "--generate-mode",
            "exact,verified,fast", "--max-mismatch", "0.05", "--generate-from-prompts",
            "--input-len", "8", "--output-len", "2:24", "--stop-at-eos", "--quiet")

    def _is_up(self):
        """Also that Prometheus has seen it, where there is one."""
        if not self.with_prometheus:
            with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=20) as reply:
                return b"spade_requests_running{" in reply.read()
        return ("spade" in self.prometheus.up_targets() and
                "spade_requests_running" in self.prometheus.names())

    def _prompts(self):
        """Those of the model that its certificates speak of, or the shadow check would object."""
        path = pathlib.Path(self.folder.name) / "prompts.jsonl"
        lines = (MODEL / "evaluation.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if json.loads(line)["k"] <= MOST_MESSAGES),
                        encoding="utf-8")
        return path

    def _start_prometheus(self):
        own = self.prometheus.url.removeprefix("http://")
        folder = pathlib.Path(self.folder.name)
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(rules=ROOT / "deploy/prometheus/rules",
                                        target=self.metrics, own=own))
        try:
            self._start("prometheus", f"--config.file={config}", f"--web.listen-address={own}",
                        f"--storage.tsdb.path={folder / 'data'}", "--log.level=error")
        except FileNotFoundError as error:
            raise StackError("prometheus is not installed: apt-get install prometheus") from error

    def _start(self, program, *arguments):
        path = program if "/" not in program else self.build / program
        if isinstance(path, pathlib.Path) and not path.exists():
            raise StackError(f"{path} is not built")
        log = open(pathlib.Path(self.folder.name) / f"{pathlib.Path(program).name}.log", "wb")
        with log:
            process = subprocess.Popen([str(a) for a in (path, *arguments)], stdout=log,
                                       stderr=subprocess.STDOUT)
        self.processes.append(process)
        return process

    def _wait_for(self, what, condition):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for process in self.processes:
                if process.poll() is not None:
                    raise StackError(f"{process.args[0]} ended:\n{self._log_of(process)}")
            try:
                if condition():
                    return
            except (urllib.error.URLError, ConnectionError, KeyError):
                pass  # not listening yet
            time.sleep(0.1)
        raise StackError(f"{what} did not come up within {START_SECONDS} s")

    def _log_of(self, process):
        name = pathlib.Path(process.args[0]).name
        return (pathlib.Path(self.folder.name) / f"{name}.log").read_text(errors="replace")
