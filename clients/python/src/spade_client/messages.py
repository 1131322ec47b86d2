"""Between plain data and protobuf messages; shared by both clients."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import from_number
from .types import Answer, Completion, Decision, Delta, Prompt, Question
from .v1 import inference_pb2 as pb

_MODES = {"exact": pb.MODE_EXACT, "verified": pb.MODE_VERIFIED, "fast": pb.MODE_FAST}
_FINISH = {pb.Finish.REASON_STOP: "stop", pb.Finish.REASON_LENGTH: "length"}


def _set_prompt(request: pb.GenerateRequest | pb.DecideRequest, prompt: Prompt) -> None:
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.token_ids.ids.extend(prompt)


def _mode(name: str) -> pb.Mode:
    if name not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}, not {name!r}")
    return _MODES[name]


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def generate_request(
    prompt: Prompt,
    *,
    max_tokens: int | None = None,
    min_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    presence_penalty: float | None = None,
    frequency_penalty: float | None = None,
    logit_bias: Mapping[int, float] | None = None,
    allowed_token_ids: Sequence[int] | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] | None = None,
    stop_token_ids: Sequence[int] | None = None,
    ignore_eos: bool | None = None,
    include_stop: bool | None = None,
    n: int | None = None,
    logprobs: int | None = None,
    mode: str = "exact",
    max_mismatch: float | None = None,
    skip_special_tokens: bool | None = None,
    add_special_tokens: bool | None = None,
    priority: int | None = None,
    cache_salt: str | None = None,
    request_id: str | None = None,
) -> pb.GenerateRequest:
    stops = [stop] if isinstance(stop, str) else stop
    request = pb.GenerateRequest(
        sampling=pb.Sampling(**_given(
            temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
            repetition_penalty=repetition_penalty, presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty, logit_bias=logit_bias,
            allowed_token_ids=allowed_token_ids, seed=seed)),
        stopping=pb.Stopping(**_given(
            max_tokens=max_tokens, min_tokens=min_tokens, stop=stops,
            stop_token_ids=stop_token_ids, ignore_eos=ignore_eos, include_stop=include_stop)),
        output=pb.OutputOptions(**_given(
            logprobs=logprobs, skip_special_tokens=skip_special_tokens)),
        mode=_mode(mode),
        **_given(n=n, max_mismatch=max_mismatch, add_special_tokens=add_special_tokens,
                 priority=priority, cache_salt=cache_salt, request_id=request_id))
    _set_prompt(request, prompt)
    return request


def _early_tokens(finish: pb.Finish | None) -> pb.EarlyTokens | None:
    return finish.early_tokens if finish and finish.HasField("early_tokens") else None


def delta(response: pb.GenerateResponse) -> Delta:
    finish = response.finish if response.HasField("finish") else None
    return Delta(
        index=response.index, text=response.text_delta, token_ids=list(response.token_ids),
        logprobs=list(response.logprobs),
        finish_reason=_FINISH.get(finish.reason, "") if finish else None,
        usage=finish.usage if finish else None, timings=finish.timings if finish else None,
        early_tokens=_early_tokens(finish))


def completion(deltas: Sequence[Delta]) -> Completion:
    last = deltas[-1]
    assert last.finish_reason is not None and last.usage is not None and last.timings is not None
    return Completion(
        text="".join(d.text for d in deltas), token_ids=[t for d in deltas for t in d.token_ids],
        finish_reason=last.finish_reason, usage=last.usage, timings=last.timings,
        early_tokens=last.early_tokens)


def decide_request(
    prompt: Prompt,
    labels: Sequence[str],
    *,
    mode: str = "exact",
    max_mismatch: float | None = None,
    label_priors: Sequence[float] | None = None,
    temperature: float | None = None,
    add_special_tokens: bool | None = None,
    priority: int | None = None,
    cache_salt: str | None = None,
    request_id: str | None = None,
) -> pb.DecideRequest:
    if isinstance(labels, str):
        raise TypeError("labels must be a sequence of strings")
    request = pb.DecideRequest(
        labels=labels, mode=_mode(mode),
        **_given(max_mismatch=max_mismatch, label_priors=label_priors, temperature=temperature,
                 add_special_tokens=add_special_tokens, priority=priority, cache_salt=cache_salt,
                 request_id=request_id))
    _set_prompt(request, prompt)
    return request


def numbered_request(
    index: int, question: Question | Prompt, labels: Sequence[str] | None, **options: Any
) -> pb.DecideRequest:
    if not isinstance(question, Question):
        question = Question(question)
    own = question.labels if question.labels is not None else labels
    if own is None:
        raise ValueError(f"question {index} has no labels")
    return decide_request(question.prompt, own, request_id=str(index), **options)


def decision(response: pb.DecideResponse) -> Decision:
    return Decision(
        label=response.label, label_index=response.label_index,
        probabilities=list(response.probabilities),
        final=response.kind == pb.DecideResponse.KIND_FINAL, corrected=response.corrected,
        exit_layer=response.exit_layer, num_layers=response.num_layers,
        compute_saved=response.compute_saved, entropy=response.entropy,
        threshold=response.threshold, certificate_id=response.certificate_id,
        usage=response.usage, timings=response.timings)


def answer(response: pb.DecideResponse) -> Answer | None:
    """None: an early answer, which a final one follows."""
    index = int(response.request_id)
    if response.HasField("error"):
        return Answer(index, None, from_number(response.error.code, response.error.message))
    made = decision(response)
    return Answer(index, made, None) if made.final else None
