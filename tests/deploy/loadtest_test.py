#!/usr/bin/env python3
"""spade-loadtest as its users run it: a trace, a sweep and a comparison, against a real server."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/local"))

from stack import MODEL, Stack  # noqa: E402

CONTEXT = json.loads((MODEL / "config.json").read_text())["max_position_embeddings"]
# The format of Azure's published traces; 4,000 tokens do not fit this model.
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{46 + i // 5}.{i % 5 * 2}000000,{context},{generated}\n"
    for i, (context, generated) in enumerate([(374, 44), (4000, 300), (91, 16), (800, 120)] * 5))


class LoadtestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = cls.enterClassContext(Stack(prometheus=False))
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def loadtest(self, *arguments):
        done = subprocess.run(
            [ROOT / "build/loadtest/spade-loadtest", "--target", self.stack.target,
             *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def report(self, name, *arguments):
        path = self.folder / name
        self.loadtest(*arguments, "--json", path)
        return json.loads(path.read_text(encoding="utf-8"))["runs"]

    def test_a_trace_is_replayed_at_its_times_scaled_to_the_context(self):
        trace = self.folder / "trace.csv"
        trace.write_text(TRACE, encoding="utf-8")
        [run] = self.report("trace.json", "--trace", trace, "--trace-speed", 2)
        self.assertEqual((run["completed"], run["failed"]), (20, 0))
        self.assertGreater(run["duration"], 1.8)  # 3.8 s, twice as fast
        longest = 4000 + 300
        self.assertLessEqual(run["total_input_tokens"],
                             5 * (374 + 4000 + 91 + 800) * CONTEXT / longest + 20)
        self.assertGreater(run["total_output_tokens"], 5 * 300 * CONTEXT / longest * 0.9)

    def test_a_sweep_ends_where_the_server_saturates(self):
        page = self.folder / "sweep.html"
        runs = self.report("sweep.json", "--sweep", 20, "--sweep-factor", 10, "--duration", 0.5,
                           "--input-len", 200, "--output-len", 40, "--html", page, "--cold")
        rates = [run["request_rate"] for run in runs]
        self.assertEqual(rates, [20 * 10**i for i in range(len(rates))])
        self.assertLess(len(rates), 5)  # nothing answers 200,000 a second
        self.assertLess(runs[-1]["request_throughput"], 0.9 * rates[-1])
        text = page.read_text(encoding="utf-8")
        self.assertIn("<svg", text)
        self.assertEqual(re.findall(r'(?:src|href)="(?!#)[^"]*"', text), [])  # self-contained

    def test_two_runs_are_compared(self):
        for streams in (1, 8):
            self.report(f"{streams}.json", "-c", streams, "-n", 60, "--decide", 0.5, "--labels",
                        " yes, no", "--input-len", 32, "--output-len", 8, "--goodput",
                        "ttft:10000", "--cold")
        text = self.loadtest("--compare", self.folder / "1.json", self.folder / "8.json").stdout
        for row in ("request_throughput", "p99_ttft_ms", "p99_tpot_ms", "p99_itl_ms", "p99_e2el_ms",
                    "request_goodput"):
            self.assertRegex(text, rf"{row} +[\d.]+ +[\d.]+ +[+-][\d.]+ %")


if __name__ == "__main__":
    unittest.main()
