"""Other people's load tools. Two of them are large: SPADE_HEAVY_CLIENTS=1 tests/clients/run."""
import csv
import json
import os
import pathlib
import subprocess
import sysconfig

import pytest

from conftest import MODEL, free_port, running_server
from smg_test import running_gateway

OWN = pathlib.Path(sysconfig.get_path("scripts"))
HEAVY = OWN.parents[1] / "heavy-clients-venv/bin"
ANALYZER = OWN / "perf_analyzer"


def tool(path: pathlib.Path, why: str):
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not here: {why}")


HEAVY_WHY = "SPADE_HEAVY_CLIENTS=1 installs it, and 1.5 GB of packages"
needs_analyzer = tool(ANALYZER, "neither its wheel nor Debian 13's C library for it was fetched")


def analyze(server: str, model: str, folder: pathlib.Path, data: list[dict], *flags: str) -> dict:
    """The line of perf_analyzer's table."""
    (folder / "input.json").write_text(json.dumps({"data": data}))
    table = folder / "table.csv"
    done = subprocess.run(
        [ANALYZER, "-m", model, "-u", server, "-i", "grpc", "--streaming", "--async",
         "--input-data", folder / "input.json", "--concurrency-range", "4",
         "--request-count", "60", "-f", table, *flags],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Request count: 60" in done.stdout
    with open(table, encoding="utf-8") as lines:
        return next(csv.DictReader(lines))


@needs_analyzer
def test_perf_analyzer_streams_generations(server, tmp_path):
    sampling = json.dumps({"max_tokens": 32, "temperature": 0, "ignore_eos": True})
    line = analyze(server, MODEL.name, tmp_path, [
        {"text_input": ["Once upon a time"], "stream": [True], "sampling_parameters": [sampling]}])
    # Several messages a request; a slow reader gets several tokens in one.
    assert float(line["Response Throughput"]) > 1.5 * float(line["Inferences/Second"]) > 0


@needs_analyzer
def test_perf_analyzer_drives_decisions(server, tmp_path, questions, labels):
    line = analyze(server, f"{MODEL.name}-decide", tmp_path, [
        {"text": {"content": [question["prompt"]], "shape": [1]},
         "labels": {"content": labels, "shape": [len(labels)]}} for question in questions],
        "--shape", "text:1", "--shape", f"labels:{len(labels)}")
    assert float(line["Inferences/Second"]) > 0


@needs_analyzer
@tool(HEAVY / "genai-perf", HEAVY_WHY)
def test_genai_perf(server, tmp_path):
    done = subprocess.run(
        [HEAVY / "genai-perf", "profile", "-m", MODEL.name, "-u", server, "--backend", "vllm",
         "--endpoint-type", "kserve", "--streaming", "--tokenizer", MODEL,
         "--num-prompts", "10", "--request-count", "40", "--concurrency", "2", "--isl", "30",
         "--osl", "16", "--artifact-dir", tmp_path],
        env=os.environ | {"PATH": f"{OWN}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(next(tmp_path.rglob("*_genai_perf.json")).read_text())
    assert report["request_count"]["avg"] == 40
    assert report["output_sequence_length"]["avg"] == pytest.approx(16, abs=2)
    assert report["inter_token_latency"]["avg"] > 0


@tool(HEAVY / "aiperf", HEAVY_WHY)
def test_aiperf_measures_through_the_gateway_and_reads_the_metrics(tmp_path):
    metrics = f"127.0.0.1:{free_port()}"
    with running_server("aiperf-server", MODEL, metrics=metrics) as address, \
            running_gateway("aiperf-smg", address) as client:
        done = subprocess.run(
            [HEAVY / "aiperf", "profile", "--model", MODEL.name, "--url",
             f"http://{client.base_url.host}:{client.base_url.port}", "--endpoint-type",
             "completions", "--streaming", "--tokenizer", MODEL, "--request-count", "40",
             "--concurrency", "2", "--isl", "30", "--osl", "16", "--extra-inputs",
             "ignore_eos:true", "--server-metrics", f"http://{metrics}/metrics", "--ui", "none",
             "--artifact-dir", tmp_path],
            capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "profile_export_aiperf.json").read_text())
    assert report["request_count"]["avg"] == 40
    assert report["time_to_first_token"]["avg"] > 0
    names = json.loads((tmp_path / "server_metrics_export.json").read_text())["metrics"]
    assert {"vllm:time_to_first_token_seconds", "vllm:num_requests_running",
            "vllm:kv_cache_usage_perc"} <= set(names)
