"""kserve, the client of KServe's own SDK, by gRPC."""
import asyncio
import json

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

MODEL = "tickets-5m"


def texts(name: str, values: list[str], raw: bool) -> InferInput:
    """A tensor of strings, as raw bytes or as KServe's typed contents."""
    tensor = InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array([v.encode() for v in values], dtype=object),
                               binary_data=raw)
    return tensor


def ask(server: str, call):
    async def run():
        async with InferenceGRPCClient(server, retries=0) as client:
            return await call(client)

    return asyncio.run(run())


def test_health(server):
    async def call(client):
        return [await client.is_server_live(), await client.is_server_ready(),
                await client.is_model_ready(MODEL), await client.is_model_ready(f"{MODEL}-decide")]

    assert ask(server, call) == [True] * 4


def test_generate(server):
    request = InferRequest(MODEL, [
        texts("text_input", ["Once upon a time"], raw=False),
        texts("sampling_parameters", [json.dumps({"max_tokens": 12, "temperature": 0})], raw=False),
    ], request_id="story")
    answer = ask(server, lambda client: client.infer(request))
    assert answer.id == "story"
    assert [o.name for o in answer.outputs] == ["text_output"]
    assert answer.outputs[0].as_numpy()[0].decode().startswith("Once upon a time, ")


@pytest.mark.parametrize("raw", [True, False])
def test_decide(server, questions, labels, raw):
    async def call(client):
        answers = [await client.infer(InferRequest(f"{MODEL}-decide", [
            texts("text", [question["prompt"]], raw), texts("labels", labels, raw),
        ])) for question in questions]
        return [{o.name: o.as_numpy() for o in answer.outputs} for answer in answers]

    right = 0
    for outputs, question in zip(ask(server, call), questions):
        label = outputs["label"][0].decode()
        assert label == labels[int(outputs["probabilities"].argmax())]
        assert outputs["exit_layer"][0] == 12
        right += label == question["label"]
    assert right > len(questions) * 0.7


def test_unknown_model(server):
    request = InferRequest("gpt", [texts("text_input", ["x"], raw=True)])
    with pytest.raises(grpc.RpcError) as error:
        ask(server, lambda client: client.infer(request))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert MODEL in error.value.details()
