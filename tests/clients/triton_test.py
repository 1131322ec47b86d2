"""tritonclient[grpc], NVIDIA's client of Triton and the Open Inference Protocol."""
import asyncio
import json
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

MODEL = "tickets-5m"
GREEDY = {"temperature": 0, "max_tokens": 12}


def texts(name: str, values: list[str]) -> triton.InferInput:
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array([v.encode() for v in values], dtype=object))
    return tensor


def flag(name: str, value: bool = True) -> triton.InferInput:
    tensor = triton.InferInput(name, [1], "BOOL")
    tensor.set_data_from_numpy(np.array([value]))
    return tensor


def story(prompt: str, *extra: triton.InferInput, **sampling) -> list[triton.InferInput]:
    return [texts("text_input", [prompt]),
            texts("sampling_parameters", [json.dumps(GREEDY | sampling)]), *extra]


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server) as client:
        yield client


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL) and client.is_model_ready(f"{MODEL}-decide", "1")
    assert "statistics" not in client.get_server_metadata().extensions
    index = client.get_model_repository_index().models
    assert [m.name for m in index] == [MODEL, f"{MODEL}-decide"]
    for model in index:
        metadata = client.get_model_metadata(model.name)
        config = client.get_model_config(model.name).config
        assert [t.name for t in config.input] == [t.name for t in metadata.inputs]
        assert [t.name for t in config.output] == [t.name for t in metadata.outputs]
    assert client.get_model_config(MODEL).config.model_transaction_policy.decoupled


def test_generate(client):
    result = client.infer(MODEL, story("Once upon a time", flag("exclude_input_in_output"),
                                       flag("return_finish_reason"),
                                       flag("return_num_output_tokens")), request_id="a")
    text = result.as_numpy("text_output")[0].decode()
    assert text.startswith(",") and not text.startswith("Once")
    assert result.as_numpy("finish_reason")[0] == b"length"
    assert result.as_numpy("num_output_tokens")[0] == GREEDY["max_tokens"]
    assert result.get_response().id == "a"
    echoed = client.infer(MODEL, story("Once upon a time")).as_numpy("text_output")[0].decode()
    assert echoed == "Once upon a time" + text


def test_verified_generation_is_the_same(client):
    exact = client.infer(MODEL, story("Once upon a time"))
    verified = client.infer(MODEL, story("Once upon a time", flag("return_compute_saved"),
                                         mode="verified"))
    assert verified.as_numpy("text_output")[0] == exact.as_numpy("text_output")[0]
    assert 0 <= verified.as_numpy("compute_saved")[0] <= 1


def test_several_continuations_with_logprobs(client):
    outputs = [triton.InferRequestedOutput(name) for name in ("text_output", "logprobs")]
    result = client.infer(MODEL, story("Once", temperature=1, n=3, logprobs=2, seed=5),
                          outputs=outputs)
    assert result.as_numpy("text_output").shape == (3,)
    tokens = json.loads(result.as_numpy("logprobs")[0])
    assert len(tokens) == GREEDY["max_tokens"]
    assert all(len(token) >= 2 for token in tokens)
    assert result.as_numpy("finish_reason") is None


def test_decide(client, questions, labels):
    right = 0
    for question in questions:
        result = client.infer(f"{MODEL}-decide",
                              [texts("text", [question["prompt"]]), texts("labels", labels)])
        probabilities = result.as_numpy("probabilities")
        assert probabilities.sum() == pytest.approx(1, abs=1e-4)
        label = result.as_numpy("label")[0].decode()
        assert label == labels[int(probabilities.argmax())]
        assert result.as_numpy("exit_layer")[0] == result.as_numpy("num_layers")[0] == 12
        right += label == question["label"]
    assert right > len(questions) * 0.7


@pytest.mark.parametrize("inputs, status, words", [
    (story("x", top_p=2), "INVALID_ARGUMENT", "top_p"),
    (story("x", tempurature=1), "INVALID_ARGUMENT", "tempurature"),
    ([texts("prompt", ["x"])], "INVALID_ARGUMENT", "inputs"),
    (story("x", flag("stream")), "INVALID_ARGUMENT", "ModelStreamInfer"),
])
def test_errors_have_codes_and_names(client, inputs, status, words):
    with pytest.raises(InferenceServerException) as error:
        client.infer(MODEL, inputs)
    assert error.value.status() == f"StatusCode.{status}"
    assert words in error.value.message()


def test_unknown_model(client):
    with pytest.raises(InferenceServerException) as error:
        client.infer("gpt", story("x"))
    assert error.value.status() == "StatusCode.NOT_FOUND"


def test_model_control_is_unimplemented(client):
    with pytest.raises(InferenceServerException) as error:
        client.load_model(MODEL)
    assert error.value.status() == "StatusCode.UNIMPLEMENTED"


def test_stream(client):
    whole = client.infer(MODEL, story("Once upon a time", flag("exclude_input_in_output")))
    expected = whole.as_numpy("text_output")[0].decode()
    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for i in range(8):
        client.async_stream_infer(MODEL, story("Once upon a time", flag("stream")),
                                  request_id=str(i), enable_empty_final_response=True)
    client.async_stream_infer(MODEL, story("x", flag("stream"), top_p=9), request_id="bad")
    streamed = {str(i): "" for i in range(8)}
    finals = errors = 0
    while finals + errors < 9:
        result, error = answers.get(timeout=20)
        if error is not None:
            assert "top_p" in str(error)
            errors += 1
            continue
        response = result.get_response()
        streamed[response.id] += result.as_numpy("text_output")[0].decode()
        finals += response.parameters["triton_final_response"].bool_param
    client.stop_stream()
    assert errors == 1
    assert set(streamed.values()) == {expected}


def test_asyncio_stream(server, questions, labels):
    async def run() -> list[bytes]:
        async def requests():
            for i, question in enumerate(questions):
                yield {"model_name": f"{MODEL}-decide", "request_id": str(i),
                       "inputs": [texts("text", [question["prompt"]]), texts("labels", labels)]}

        async with triton_aio.InferenceServerClient(server) as client:
            found = {}
            async for result, error in client.stream_infer(requests()):
                assert error is None
                found[int(result.get_response().id)] = result.as_numpy("label")[0]
            return [found[i] for i in range(len(questions))]

    answers = asyncio.run(run())
    right = sum(a.decode() == q["label"] for a, q in zip(answers, questions))
    assert right > len(questions) * 0.7
