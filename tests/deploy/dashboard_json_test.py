#!/usr/bin/env python3
"""The dashboards' JSON: up to date, of Grafana's schema, laid out without overlap."""

import json
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "deploy/grafana")]

import queries  # noqa: E402

try:
    import jsonschema
except ImportError:
    jsonschema = None
try:
    from grafana_foundation_sdk.cog import encoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models import dashboard as grafana
except ImportError:
    grafana = None


def without_empty(value):
    """Without what Grafana's model may leave out: null, and empty objects and lists."""
    if isinstance(value, dict):
        pairs = {k: without_empty(v) for k, v in value.items()}
        return {k: v for k, v in pairs.items() if v not in (None, {}, [])}
    return [without_empty(v) for v in value] if isinstance(value, list) else value


def lost(before, after, path=""):
    """Paths of `before` that `after` lacks or has otherwise."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [p for k, v in before.items() for p in lost(v, after.get(k), f"{path}.{k}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [p for i, v in enumerate(before) for p in lost(v, after[i], f"{path}[{i}]")]
    return [] if before == after else [path]


class DashboardJsonTest(unittest.TestCase):
    def test_generated_files_are_up_to_date(self):
        done = subprocess.run([sys.executable, ROOT / "deploy/generate", "--check"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    @unittest.skipIf(jsonschema is None, "needs python3-jsonschema")
    def test_schema(self):
        path = ROOT / "tests/deploy/grafana_dashboard.schema.json"
        schema = json.loads(path.read_text(encoding="utf-8"))
        for name, dashboard in queries.load_dashboards().items():
            with self.subTest(dashboard=name):
                jsonschema.Draft202012Validator(schema).validate(dashboard)

    @unittest.skipIf(grafana is None, "needs grafana-foundation-sdk from PyPI")
    def test_grafanas_own_model_keeps_every_field(self):
        """Grafana's model drops what it does not know, so a misspelt field is lost."""
        register_default_plugins()
        for name, dashboard in queries.load_dashboards().items():
            with self.subTest(dashboard=name):
                model = grafana.Dashboard.from_json(json.loads(json.dumps(dashboard)))
                again = json.loads(json.dumps(model, cls=encoder.JSONEncoder))
                self.assertEqual(lost(without_empty(dashboard), again), [])

    def test_panels_fill_the_grid_without_overlap(self):
        for name, dashboard in queries.load_dashboards().items():
            cells = set()
            for panel in dashboard["panels"]:
                grid = panel["gridPos"]
                self.assertLessEqual(grid["x"] + grid["w"], 24, panel["title"])
                mine = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"])
                        for y in range(grid["y"], grid["y"] + grid["h"])}
                self.assertEqual(cells & mine, set(), f"{name}: {panel['title']} overlaps")
                cells |= mine

    def test_ids_are_unique(self):
        for dashboard in queries.load_dashboards().values():
            ids = [panel["id"] for panel in dashboard["panels"]]
            self.assertEqual(len(ids), len(set(ids)))


if __name__ == "__main__":
    unittest.main()
