"""Draws the panels of a dashboard with matplotlib, in Grafana's layout."""

import math
import re
import time

import matplotlib
import queries

matplotlib.use("Agg")  # no display

from matplotlib import pyplot  # noqa: E402
from PIL import Image  # noqa: E402

INCHES_PER_COLUMN = 0.62
INCHES_PER_ROW = 0.28
MAX_LINES = 8  # of a legend
POINTS = 120
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def show(value, unit):
    """As Grafana would: 0.0123 s is 12.3 ms."""
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "s":
        for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= scale:
                return f"{value / scale:.3g} {name}"
        return f"{value:.3g} s"
    if unit == "currencyUSD":
        return f"${value:.4g}"
    for scale, name in PREFIXES:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value:.3g}"


def legend_of(target, labels):
    if target["legendFormat"] == "__auto":
        return ", ".join(f"{k}={v}" for k, v in labels.items() if k != "__name__")
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m.group(1), ""), target["legendFormat"])


def draw_lines(axes, panel, results, start):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    lines = [(legend_of(target, series["labels"]), series["values"])
             for target, found in results for series in found]
    if stacked:
        times = sorted({t for _, values in lines for t, _ in values})
        columns = [[dict(values).get(t, 0) for t in times] for _, values in lines]
        axes.stackplot([t - start for t in times], columns, labels=[n for n, _ in lines],
                       alpha=0.7)
    else:
        for name, values in lines:
            axes.plot([t - start for t, _ in values], [v for _, v in values], label=name,
                      linewidth=1.2)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    axes.yaxis.set_major_formatter(lambda value, _: show(value, unit))
    axes.grid(alpha=0.3)
    if len(lines) <= MAX_LINES:
        axes.legend(fontsize=6, loc="upper left", framealpha=0.6)


def draw_stat(axes, panel, results, start):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    values = results[0][1][0]["values"]
    axes.plot([t - start for t, _ in values], [v for _, v in values], color="0.8")
    axes.ticklabel_format(style="plain")  # no exponent beside the title
    axes.axis("off")
    axes.text(0.5, 0.45, show(values[-1][1], unit), transform=axes.transAxes, ha="center",
              va="center", fontsize=20)


def draw_heatmap(axes, panel, results, start):
    """Buckets are cumulative in Prometheus: a cell is a bucket less the one below."""
    del panel
    buckets = sorted(results[0][1], key=lambda s: float(s["labels"]["le"]))
    times = sorted({t for s in buckets for t, _ in s["values"]})
    rows, below = [], [0.0] * len(times)
    for series in buckets:
        values = dict(series["values"])
        row = [values.get(t, 0.0) for t in times]
        rows.append([max(0.0, v - b) for v, b in zip(row, below)])
        below = row
    used = [i for i, row in enumerate(rows) if any(row)] or [0]
    shown = range(used[0], used[-1] + 1)
    mesh = [[v if v > 0 else math.nan for v in rows[i]] for i in shown]
    axes.pcolormesh([t - start for t in times], list(shown), mesh, cmap="Oranges",
                    shading="nearest")
    axes.set_yticks(list(shown), [f"≤ {buckets[i]['labels']['le']}" for i in shown], fontsize=6)


DRAW = {"timeseries": draw_lines, "stat": draw_stat, "heatmap": draw_heatmap}


def draw_panel(axes, panel, results, start):
    axes.set_title(panel["title"], fontsize=9, loc="left")
    axes.tick_params(labelsize=6)
    if any(found for _, found in results):
        DRAW[panel["type"]](axes, panel, results, start)
    else:
        axes.axis("off")
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="0.6")


def draw_dashboard(dashboard, ask, start, path):
    """`ask(expr)` gives the series of a query; the picture goes to `path`."""
    panels = dashboard["panels"]
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
    figure = pyplot.figure(figsize=(24 * INCHES_PER_COLUMN, rows * INCHES_PER_ROW))
    figure.suptitle(dashboard["title"], x=0.01, ha="left", y=0.997, va="top", fontsize=12)
    for panel in panels:
        grid = panel["gridPos"]
        left, top = grid["x"] / 24, 1 - (grid["y"] + 0.5) / (rows + 0.5)
        if panel["type"] == "row":
            figure.text(0.01, top - 0.9 / rows, panel["title"], fontsize=9, weight="bold")
            continue
        height = grid["h"] / (rows + 0.5)
        axes = figure.add_axes((left + 0.035, top - height + 1.1 / rows,
                                grid["w"] / 24 - 0.045, height - 2.4 / rows))
        draw_panel(axes, panel, [(t, ask(t["expr"])) for t in panel["targets"]], start)
    figure.savefig(path, dpi=72)
    pyplot.close(figure)
    with Image.open(path) as picture:  # a palette makes it a third of the size
        small = picture.convert("RGB").quantize(96, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def render(prometheus, seconds, folder):
    """Draws the last `seconds` of every dashboard into `folder`; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    end = time.time()
    start = end - seconds
    paths = []
    for name, dashboard in queries.load_dashboards().items():
        variables = queries.defaults_of(dashboard)

        def ask(expr, variables=variables):
            window = f"{max(4, round(seconds / 12))}s"
            filled = queries.fill(expr, window, f"{round(seconds)}s", variables)
            return prometheus.query_range(filled, start, end, max(1, seconds / POINTS))

        paths.append(folder / f"dashboard-{name}.png")
        draw_dashboard(dashboard, ask, start, paths[-1])
    return paths
