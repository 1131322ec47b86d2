"""The dashboard *Compute saved*: what early exit is worth, and whether it keeps its promise."""

from model import (dashboard, datasource_variable, heatmap, model_variable, quantiles, row, stat,
                   target, textbox_variable, timeseries)

MODEL = 'model_name=~"$model_name"'
RATE = f"{{{MODEL}}}[$__rate_interval]"
RANGE = f"{{{MODEL}}}[$__range]"


def _ratio(numerator, denominator, selector, by=""):
    group = f" by ({by})" if by else ""
    return (f"sum{group} (rate({numerator}{selector})) / "
            f"sum{group} (rate({denominator}{selector}))")


def _totals():
    return [
        row("Saved in this time range"),
        stat("Layer-rows saved", "Share of the row-layers of full depth that did not run.",
             "percentunit", "sum(increase(spade_layer_rows_saved_total%s)) / "
             "sum(increase(spade_layer_rows_full_total%s))" % (RANGE, RANGE), decimals=1),
        stat("Operations saved", "Floating-point operations of those row-layers.", "short",
             f"sum(increase(spade_flops_saved_total{RANGE}))"),
        stat("Compute time saved", "Seconds of the device that the loop did not spend, by its "
             "measured cost of a step.", "s",
             f"sum(increase(spade_wall_seconds_saved_total{RANGE}))"),
        stat("Money saved", "Compute time saved at $price for an hour of the device.",
             "currencyUSD",
             f"sum(increase(spade_wall_seconds_saved_total{RANGE})) / 3600 * $price", decimals=4),
    ]


def _where():
    return [
        row("Where requests leave"),
        heatmap("Exit layer of decisions", "Layers that the prompt rows of each answer ran. The "
                "last layer is full depth.", "none",
                f'sum by (le) (increase(spade_exit_layer_bucket{{kind="decision", {MODEL}}}'
                "[$__rate_interval]))"),
        heatmap("Exit layer of tokens", "The same for generated tokens.", "none",
                f'sum by (le) (increase(spade_exit_layer_bucket{{kind="token", {MODEL}}}'
                "[$__rate_interval]))"),
        timeseries("Mean exit layer", "By mode: EXACT always runs all layers.", "none",
                   target(_ratio("spade_exit_layer_sum", "spade_exit_layer_count", RATE, "mode"),
                          "{{mode}}")),
        timeseries("Decisions", "Final answers, by mode.", "reqps",
                   target(f"sum by (mode) (rate(spade_decisions_total{RATE}))", "{{mode}}"),
                   stacked=True),
        timeseries("Entropy where they leave", "L-SPADE's entropy in nats at the exit taken; each "
                   "exit's threshold bounds it.", "none",
                   *quantiles("spade_exit_entropy", at=(0.5, 0.99))),
    ]


def _how_much():
    return [
        row("How much, by model and mode"),
        timeseries("Layer-rows saved", "Row-layers that did not run.", "ops",
                   target("sum by (model_name, mode) (rate(spade_layer_rows_saved_total%s))" % RATE,
                          "{{model_name}} {{mode}}"), stacked=True),
        timeseries("Operations saved", "Floating-point operations of those row-layers.", "flops",
                   target(f"sum by (model_name, mode) (rate(spade_flops_saved_total{RATE}))",
                          "{{model_name}} {{mode}}"), stacked=True),
        timeseries("Compute time saved", "Device seconds saved in each second.", "percentunit",
                   target(f"sum by (mode) (rate(spade_wall_seconds_saved_total{RATE}))",
                          "{{mode}}"), stacked=True),
        timeseries("Latency saved per decision", "Mean seconds that a decision of the mode did not "
                   "take.", "s",
                   target(_ratio("spade_wall_seconds_saved_total", "spade_decisions_total", RATE,
                                 "mode"), "{{mode}}")),
        timeseries("Oracle gap", "Of the shadow-checked decisions: what leaving at the first exit "
                   "from which on every answer is full depth's would save, beside what was saved. "
                   "The gap is what a better exit head could win.", "percentunit",
                   target(_ratio("spade_oracle_layer_rows_saved_total",
                                 "spade_shadow_layer_rows_full_total", RATE), "oracle"),
                   target(_ratio("spade_shadow_layer_rows_saved_total",
                                 "spade_shadow_layer_rows_full_total", RATE), "saved")),
        timeseries("Draft tokens accepted", "Share of early tokens that full depth confirmed.",
                   "percentunit",
                   target(_ratio("spade_draft_tokens_accepted_total", "spade_draft_tokens_total",
                                 RATE), "accepted")),
    ]


def _promise():
    return [
        row("Is the promise kept?"),
        timeseries("Shadow mismatch against its limit", "Confidence bounds of the mismatch that "
                   "shadow checks found, and the certified limit, by exit layer. A lower bound "
                   "above the limit tightens the exit.", "percentunit",
                   target(f"max by (layer) (spade_shadow_mismatch_lower{{{MODEL}}})",
                          "at least, layer {{layer}}"),
                   target(f"max by (layer) (spade_shadow_mismatch_upper{{{MODEL}}})",
                          "at most, layer {{layer}}"),
                   target(f"max by (layer) (spade_shadow_mismatch_limit{{{MODEL}}})",
                          "limit, layer {{layer}}"), width=12),
        timeseries("Shadow checks", "Answers completed to full depth in idle time.", "ops",
                   target(f"sum by (layer, agreed) (rate(spade_shadow_checks_total{RATE}))",
                          "layer {{layer}}, agreed {{agreed}}"), width=6, stacked=True),
        timeseries("Exits turned off", "1: the shadow check turned the exit off.", "bool_on_off",
                   target(f"max by (layer) (spade_exits_disabled{{{MODEL}}})", "layer {{layer}}"),
                   width=6),
        timeseries("SPADE passes", "Climbs of answer rows over the start token and themselves.",
                   "ops", target(f"sum(rate(spade_spade_passes_total{RATE}))", "passes")),
        timeseries("Rows of a SPADE pass", "Requests that share one pass.", "none",
                   *quantiles("spade_spade_batch_rows", at=(0.5, 0.99))),
        timeseries("Parked rows", "Hidden states kept at an exit, and rows completed later.",
                   "none", target(f"sum(spade_parked_rows{{{MODEL}}})", "parked"),
                   target(f"sum(rate(spade_deferred_rows_total{RATE}))", "deferred per second")),
    ]


def build():
    return dashboard(
        "spade-compute-saved", "spade: compute saved",
        "Layers, operations, time and money that early exit saved, and the checks on its promise.",
        [datasource_variable(), model_variable(),
         textbox_variable("price", "Price of a device hour", "2.50")],
        _totals() + _where() + _how_much() + _promise())
