"""Grafana's classic dashboard JSON from short descriptions of panels.

Only what our dashboards use. Panels flow from left to right over Grafana's 24 columns.
"""

SCHEMA_VERSION = 41  # Grafana 12; 11 and 13 read it too
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
HEIGHT = 8


def target(expr, legend="", heatmap=False, instant=False):
    """One PromQL query of a panel."""
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend or "__auto",
        "format": "heatmap" if heatmap else "time_series",
        "instant": instant,
        "range": not instant,
    }


def _panel(kind, title, description, unit, targets, width, options, custom, extra=None):
    for number, each in enumerate(targets):
        each["refId"] = "ABCDEFGH"[number]
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "targets": targets,
        "gridPos": {"w": width, "h": HEIGHT, "x": 0, "y": 0},
        "fieldConfig": {"defaults": {"unit": unit, "custom": custom, **(extra or {})},
                        "overrides": []},
        "options": options,
    }


def timeseries(title, description, unit, *targets, width=8, stacked=False, minimum=0):
    custom = {"lineWidth": 1, "fillOpacity": 25 if stacked else 8, "showPoints": "never",
              "stacking": {"mode": "normal" if stacked else "none", "group": "A"}}
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
               "tooltip": {"mode": "multi", "sort": "desc"}}
    return _panel("timeseries", title, description, unit, list(targets), width, options, custom,
                  {"min": minimum})


def stat(title, description, unit, expr, width=6, decimals=None):
    options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
               "colorMode": "value", "graphMode": "area", "justifyMode": "auto",
               "textMode": "auto", "orientation": "auto"}
    extra = {} if decimals is None else {"decimals": decimals}
    return _panel("stat", title, description, unit, [target(expr)], width, options, {}, extra)


def heatmap(title, description, unit, expr, width=12):
    options = {"calculate": False,
               "cellGap": 1,
               "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
               "yAxis": {"unit": unit, "axisPlacement": "left"},
               "rowsFrame": {"layout": "auto"},
               "legend": {"show": True},
               "tooltip": {"mode": "single", "yHistogram": False}}
    return _panel("heatmap", title, description, unit, [target(expr, "{{le}}", heatmap=True)],
                  width, options, {})


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [],
            "gridPos": {"w": 24, "h": 1, "x": 0, "y": 0}}


def quantiles(metric, by="", filters='model_name=~"$model_name"', at=(0.5, 0.9, 0.99)):
    """Quantiles of a histogram, and its mean."""
    selector = f"{{{filters}}}[$__rate_interval]"
    group = f"le, {by}" if by else "le"
    lines = [target(f"histogram_quantile({q}, sum by ({group}) (rate({metric}_bucket{selector})))",
                    f"p{q * 100:g}" + (f" {{{{{by}}}}}" if by else "")) for q in at]
    mean = (f"sum(rate({metric}_sum{selector})) / sum(rate({metric}_count{selector}))")
    return lines if by else [*lines, target(mean, "mean")]


def datasource_variable():
    return {"name": "datasource", "label": "Data source", "type": "datasource",
            "query": "prometheus", "hide": 0, "refresh": 1, "regex": "",
            "includeAll": False, "multi": False, "current": {}, "options": []}


def model_variable():
    return {"name": "model_name", "label": "Model", "type": "query", "datasource": DATASOURCE,
            "query": {"qryType": 1, "refId": "model_name",
                      "query": "label_values(spade_requests_running, model_name)"},
            "hide": 0, "refresh": 2, "regex": "", "sort": 1, "includeAll": True, "multi": True,
            "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "options": []}


def textbox_variable(name, label, value):
    return {"name": name, "label": label, "type": "textbox", "query": value, "hide": 0,
            "current": {"text": value, "value": value},
            "options": [{"text": value, "value": value, "selected": True}]}


def _place(panels):
    """Gives each panel its id and its place: a full line starts the next one."""
    x = y = 0
    for number, panel in enumerate(panels, 1):
        grid = panel["gridPos"]
        if x + grid["w"] > 24:
            x, y = 0, y + HEIGHT
        if panel["type"] == "row" and x > 0:
            x, y = 0, y + HEIGHT
        panel["id"] = number
        grid["x"], grid["y"] = x, y
        x += grid["w"]
        if panel["type"] == "row":
            x, y = 0, y + 1
    return panels


def dashboard(uid, title, description, variables, panels):
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["spade", "llm"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "templating": {"list": variables},
        "annotations": {"list": []},
        "links": [{"type": "dashboards", "title": "spade", "tags": ["spade"], "asDropdown": False,
                   "keepTime": True, "includeVars": True, "targetBlank": False, "icon": "",
                   "tooltip": "", "url": ""}],
        "panels": _place(panels),
    }
