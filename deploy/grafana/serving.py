"""The dashboard *Serving*: vLLM's twelve panels over vLLM's names, and what ours add."""

from model import (dashboard, datasource_variable, heatmap, model_variable, quantiles, row, stat,
                   target, timeseries)

MODEL = 'model_name=~"$model_name"'
RATE = f"{{{MODEL}}}[$__rate_interval]"


def _overview():
    return [
        row("Now"),
        stat("Servers ready", "Instances whose health reports SERVING.", "none",
             "sum(spade_serving)", width=4),
        stat("Requests", "Requests that ended or were refused, per second.", "reqps",
             f"sum(rate(spade_requests_total{RATE}))", width=4),
        stat("Errors", "Share of requests that the server failed: INTERNAL, UNAVAILABLE, "
             "RESOURCE_EXHAUSTED, DATA_LOSS, UNKNOWN.", "percentunit",
             'sum(rate(spade_requests_total{code=~"INTERNAL|UNAVAILABLE|RESOURCE_EXHAUSTED|'
             f'DATA_LOSS|UNKNOWN", {MODEL}}}[$__rate_interval])) / '
             f"sum(rate(spade_requests_total{RATE}))", width=4, decimals=2),
        stat("TTFT p99", "From arrival to the first token, or to a decision's first answer.", "s",
             "histogram_quantile(0.99, sum by (le) "
             f"(rate(spade_time_to_first_token_seconds_bucket{RATE})))", width=4),
        stat("Queue", "Waiting requests, as a share of what may wait.", "percentunit",
             f"max(spade_requests_waiting{{{MODEL}}} / spade_requests_waiting_limit{{{MODEL}}})",
             width=4, decimals=1),
        stat("KV cache", "Share of the KV blocks in use, of the fullest server.", "percentunit",
             f"max(spade_kv_cache_usage_ratio{{{MODEL}}})", width=4, decimals=1),
    ]


def _vllm_latency():
    return [
        row("As in vLLM's dashboard"),
        timeseries("E2E request latency", "From arrival to the last token or answer.", "s",
                   *quantiles("vllm:e2e_request_latency_seconds", at=(0.5, 0.9, 0.95, 0.99))),
        timeseries("Token throughput", "Prompt and generated tokens.", "cps",
                   target(f"sum(rate(vllm:prompt_tokens_total{RATE}))", "prompt"),
                   target(f"sum(rate(vllm:generation_tokens_total{RATE}))", "generation")),
        timeseries("Inter-token latency", "Between two tokens of a sequence.", "s",
                   *quantiles("vllm:inter_token_latency_seconds", at=(0.5, 0.9, 0.95, 0.99))),
        timeseries("Scheduler state", "Requests that run and that wait.", "none",
                   target(f"sum(vllm:num_requests_running{{{MODEL}}})", "running"),
                   target(f"sum(vllm:num_requests_waiting{{{MODEL}}})", "waiting")),
        timeseries("Time to first token", "A decision's first answer counts.", "s",
                   *quantiles("vllm:time_to_first_token_seconds", at=(0.5, 0.9, 0.95, 0.99))),
        timeseries("Cache utilization", "Share of the KV blocks in use.", "percentunit",
                   target(f"max(vllm:kv_cache_usage_perc{{{MODEL}}})", "in use")),
    ]


def _vllm_requests():
    return [
        heatmap("Request prompt length", "Tokens.", "none",
                f"sum by (le) (increase(vllm:request_prompt_tokens_bucket{RATE}))"),
        heatmap("Request generation length", "Tokens.", "none",
                f"sum by (le) (increase(vllm:request_generation_tokens_bucket{RATE}))"),
        timeseries("Finish reason", "Sequences and decisions that ended.", "ops",
                   target(f"sum by (finished_reason) (rate(vllm:request_success_total{RATE}))",
                          "{{finished_reason}}"), width=6, stacked=True),
        timeseries("Queue time", "From arrival to the first schedule.", "s",
                   *quantiles("vllm:request_queue_time_seconds", at=(0.5, 0.99)), width=6),
        timeseries("Prefill and decode time", "Seconds spent, per second.", "s",
                   target(f"sum(rate(vllm:request_prefill_time_seconds_sum{RATE}))", "prefill"),
                   target(f"sum(rate(vllm:request_decode_time_seconds_sum{RATE}))", "decode"),
                   width=6),
        timeseries("Max generation tokens", "Of the longest sequence of a request.", "none",
                   *quantiles("vllm:request_max_num_generation_tokens", at=(0.5, 0.99)), width=6),
    ]


def _engine():
    return [
        row("Engine"),
        timeseries("Step duration", "One step: all rows through all stages.", "s",
                   *quantiles("spade_step_duration_seconds", at=(0.5, 0.99))),
        timeseries("Rows of a step", "Tokens that share each layer's products.", "none",
                   *quantiles("spade_step_rows", at=(0.5, 0.99))),
        timeseries("Prefix cache hit rate", "Share of prompt tokens that need no computing.",
                   "percentunit",
                   target(f"sum(rate(spade_prompt_tokens_cached_total{RATE})) / "
                          f"sum(rate(spade_prompt_tokens_total{RATE}))", "hits")),
        timeseries("Preemptions", "Sequences that gave up their KV blocks.", "ops",
                   target(f"sum(rate(spade_preemptions_total{RATE}))", "preemptions")),
        timeseries("Engine heartbeat age", "Since the last finished step; 0 while idle. Growing: "
                   "the engine hangs.", "s",
                   target("max by (instance) (spade_engine_heartbeat_age_seconds)",
                          "{{instance}}")),
        timeseries("Requests by code", "gRPC codes of requests that ended or were refused.",
                   "reqps",
                   target(f"sum by (rpc, code) (rate(spade_requests_total{RATE})) > 0",
                          "{{rpc}} {{code}}"), stacked=True),
    ]


def _process():
    ours = "and on (instance) spade_serving"
    return [
        row("gRPC and process"),
        timeseries("RPC handling time p99", "By method; of streams, until their end.", "s",
                   target("histogram_quantile(0.99, sum by (le, grpc_service, grpc_method) "
                          "(rate(grpc_server_handling_seconds_bucket[$__rate_interval]))) > 0",
                          "{{grpc_service}} {{grpc_method}}")),
        timeseries("CPU", "Cores in use.", "none",
                   target(f"rate(process_cpu_seconds_total[$__rate_interval]) {ours}",
                          "{{instance}}")),
        timeseries("Memory", "Resident; weights that are mapped files count.", "bytes",
                   target(f"process_resident_memory_bytes {ours}", "{{instance}}")),
    ]


def build():
    return dashboard(
        "spade-serving", "spade: serving",
        "Latency, throughput, queue, KV cache and engine of spade-server.",
        [datasource_variable(), model_variable()],
        _overview() + _vllm_latency() + _vllm_requests() + _engine() + _process())
