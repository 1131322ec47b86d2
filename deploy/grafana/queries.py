"""The queries of a dashboard's JSON, with its variables filled in."""

import json
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent / "dashboards"


def load_dashboards():
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(FOLDER.glob("*.json"))}


def panels_of(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def fill(expr, rate_interval, time_range, variables):
    """What Grafana would send: `variables` replace $name, longest names first."""
    values = {"__rate_interval": rate_interval, "__range": time_range, **variables}
    for name in sorted(values, key=len, reverse=True):
        expr = expr.replace(f"${name}", values[name])
    return expr


def defaults_of(dashboard):
    """The variables as Grafana first sets them: All is its regular expression."""
    values = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "textbox":
            values[variable["name"]] = variable["current"]["value"]
        elif variable.get("includeAll"):
            values[variable["name"]] = variable["allValue"]
    return values
