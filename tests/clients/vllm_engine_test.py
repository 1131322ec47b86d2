"""The gateway's own stubs of vllm.grpc.engine.VllmEngine: our messages are theirs on the wire."""
import hashlib
import io
import json
import zipfile

import grpc
import pytest
from smg_grpc_proto import vllm_engine_pb2 as pb
from smg_grpc_proto import vllm_engine_pb2_grpc as stubs
from smg_grpc_proto.generated import common_pb2

from conftest import MODEL


@pytest.fixture(scope="module")
def engine(server):
    with grpc.insecure_channel(server) as channel:
        yield stubs.VllmEngineStub(channel)


def prompt(**sampling) -> pb.GenerateRequest:
    parameters = pb.SamplingParams(**({"temperature": 0, "max_tokens": 10} | sampling))
    return pb.GenerateRequest(request_id="stub", text="Once upon a time",
                              sampling_params=parameters)


def test_stream_and_whole_agree(engine):
    request = prompt(logprobs=2, prompt_logprobs=1)
    whole = [m.complete for m in engine.Generate(request)]
    assert len(whole) == 1 and whole[0].finish_reason == "length"
    assert len(whole[0].output_ids) == whole[0].completion_tokens == 10
    inputs = whole[0].input_logprobs
    assert len(inputs.token_ids) == whole[0].prompt_tokens
    assert not inputs.token_logprobs[0].HasField("value")
    assert inputs.token_logprobs[1].value < 0
    request.stream = True
    messages = list(engine.Generate(request))
    assert [m.WhichOneof("response") for m in messages][-1] == "complete"
    chunks = [m.chunk for m in messages[:-1]]
    assert [t for c in chunks for t in c.token_ids] == list(whole[0].output_ids)
    assert sum(c.completion_tokens for c in chunks) == 10
    assert [p for c in chunks for p in c.output_logprobs.token_logprobs] == pytest.approx(
        list(whole[0].output_logprobs.token_logprobs), abs=1e-5)
    assert all(len(t.values) == 2 for c in chunks for t in c.output_logprobs.top_logprobs)


def test_stop_is_matched(engine):
    by_text = next(engine.Generate(prompt(max_tokens=40, stop=[" girl"]))).complete
    assert by_text.finish_reason == "stop" and by_text.matched_stop_str == " girl"
    last = by_text.output_ids[-1]
    by_token = next(engine.Generate(prompt(max_tokens=40, stop_token_ids=[last]))).complete
    assert by_token.matched_token_id == last


def test_tokenizer_is_a_zip_of_the_folder(engine):
    chunks = list(engine.GetTokenizer(common_pb2.GetTokenizerRequest()))
    archive = b"".join(chunk.data for chunk in chunks)
    assert [c.sha256 for c in chunks] == [""] * (len(chunks) - 1) + [
        hashlib.sha256(archive).hexdigest()]
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert files.testzip() is None
        assert "tokenizer_config.json" in files.namelist()
        assert files.read("tokenizer.json") == (MODEL / "tokenizer.json").read_bytes()
        json.loads(files.read("config.json"))


def test_info(engine):
    model = engine.GetModelInfo(pb.GetModelInfoRequest())
    assert model.served_model_name == MODEL.name and model.is_generation
    assert (model.vocab_size, model.max_context_length) == (4096, 256)
    assert list(model.eos_token_ids) == [1]
    assert engine.GetServerInfo(pb.GetServerInfoRequest()).server_type == "vllm-grpc"
    assert engine.HealthCheck(pb.HealthCheckRequest()).healthy
    load = engine.GetLoads(pb.GetLoadsRequest()).loads[0]
    assert load.max_total_num_tokens > 0 and 0 <= load.token_usage <= 1


@pytest.mark.parametrize("change, code, words", [
    ({"regex": "a+"}, grpc.StatusCode.UNIMPLEMENTED, "structured output"),
    ({"top_p": 2}, grpc.StatusCode.INVALID_ARGUMENT, "sampling_params.top_p"),
    ({"logprobs": -1}, grpc.StatusCode.INVALID_ARGUMENT, "sampling_params.logprobs"),
])
def test_refusals(engine, change, code, words):
    with pytest.raises(grpc.RpcError) as error:
        list(engine.Generate(prompt(**change)))
    assert error.value.code() == code
    assert words in error.value.details()


@pytest.mark.parametrize("call", ["Embed", "SubscribeKvEvents", "FlushCache"])
def test_what_is_not_served_is_unimplemented(engine, call):
    requests = {"Embed": pb.EmbedRequest(), "FlushCache": common_pb2.FlushCacheRequest(),
                "SubscribeKvEvents": common_pb2.SubscribeKvEventsRequest()}
    with pytest.raises(grpc.RpcError) as error:
        answer = getattr(engine, call)(requests[call])
        if call == "SubscribeKvEvents":
            next(answer)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
