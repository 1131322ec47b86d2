#!/usr/bin/env python3
"""Every panel of our dashboards, asked of a real Prometheus that scrapes a loaded spade-server."""

import pathlib
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy/local"), str(ROOT / "deploy/grafana")]

import queries  # noqa: E402
from stack import MODEL, Stack  # noqa: E402

try:
    import draw
except ImportError:
    draw = None

LOAD_SECONDS = 8


class DashboardsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = cls.enterClassContext(Stack())
        cls.started = time.time()
        load = cls.stack.load(seconds=LOAD_SECONDS, rate=30)
        if load.wait(120) != 0:
            raise RuntimeError(f"spade-loadtest ended with {load.returncode}")

    def ask(self, dashboard, expr):
        expr = queries.fill(expr, "4s", "10s", queries.defaults_of(dashboard))
        self.assertNotIn("$", expr, "a variable that the dashboard does not declare")
        return self.stack.prometheus.query_range(expr, self.started, time.time(), 1)

    def test_every_panel_has_data(self):
        for name, dashboard in queries.load_dashboards().items():
            for panel in queries.panels_of(dashboard):
                for target in panel["targets"]:
                    with self.subTest(dashboard=name, panel=panel["title"], expr=target["expr"]):
                        self.assertNotEqual(self.ask(dashboard, target["expr"]), [])

    def test_every_rule_evaluates_and_nothing_fires(self):
        rules = self.stack.prometheus.rules()
        self.assertGreater(len(rules), 10)
        for rule in rules:
            with self.subTest(rule=rule["name"]):
                self.assertEqual(rule["health"], "ok", rule.get("lastError"))
                self.assertNotEqual(rule.get("state"), "firing")

    def test_the_model_variable_lists_the_model(self):
        series = self.stack.prometheus.query_range("spade_requests_running", self.started,
                                                   time.time(), 1)
        self.assertEqual({s["labels"]["model_name"] for s in series}, {MODEL.name})

    @unittest.skipIf(draw is None, "needs python3-matplotlib")
    def test_every_dashboard_has_a_picture(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = draw.render(self.stack.prometheus, 10, pathlib.Path(folder))
            self.assertEqual(len(paths), len(queries.load_dashboards()))
            for path in paths:
                picture = draw.pyplot.imread(path)
                self.assertGreater(picture.shape[0], 800)
                self.assertGreater(picture[:, :, :3].std(), 0.05, "the picture is blank")


if __name__ == "__main__":
    unittest.main()
