"""The official OpenAI client through the smg gateway, which drives the server as a vLLM engine."""
import contextlib
import re
import shutil
import subprocess
import sysconfig
import time
import urllib.request

import grpc
import openai
import pytest
from smg_grpc_proto import vllm_engine_pb2_grpc as stubs
from smg_grpc_proto.generated import common_pb2

import conftest
from conftest import LOGS, ROOT, free_port, running_server, start

MODEL = "tickets-5m"
PROMPT = "Once upon a time"


def wait_until_ready(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/v1/models", timeout=1) as answer:
                if MODEL in answer.read().decode():
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"smg did not find the server: see {LOGS}/smg.log")


@contextlib.contextmanager
def running_gateway(name: str, address: str):
    port = free_port()
    process = start(name, [
        f"{sysconfig.get_path('scripts')}/smg", "launch", "--worker-urls", f"grpc://{address}",
        "--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port()),
        "--chat-template", str(ROOT / "tests/clients/chat.jinja"),
    ])
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    finally:
        process.kill()  # its own way to end takes five seconds
        process.wait()


@pytest.fixture(scope="module")
def client(server):
    with running_gateway("smg", server) as client:
        yield client


def complete(client, **arguments):
    defaults = {"model": MODEL, "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    return client.completions.create(**(defaults | arguments))


def chat(client, **arguments):
    defaults = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}],
                "max_tokens": 12, "temperature": 0}
    return client.chat.completions.create(**(defaults | arguments))


def test_model_is_listed(client):
    assert [model.id for model in client.models.list()] == [MODEL]


def test_completion(client):
    answer = complete(client)
    assert answer.choices[0].text.startswith(" to go")
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_stream_is_the_same_text_and_count(client):
    whole = complete(client, max_tokens=30).choices[0].text
    chunks = list(complete(client, max_tokens=30, stream=True,
                           stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 30


def test_stop_string(client):
    answer = complete(client, max_tokens=40, stop=[" girl"])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].text.endswith("little")


def test_several_choices_are_seeded(client):
    def texts():
        return [c.text for c in complete(client, n=3, temperature=1, seed=11).choices]

    assert len(set(texts())) == 3
    assert texts() == texts()


def test_chat(client):
    answer = chat(client)
    streamed = "".join(c.choices[0].delta.content or "" for c in chat(client, stream=True)
                       if c.choices)
    assert answer.choices[0].message.content == streamed != ""
    assert answer.choices[0].message.role == "assistant"


def test_chat_logprobs(client):
    answer = chat(client, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert len(content) == 12
    for token in content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob, abs=1e-5)


TOOLS = [{"type": "function", "function": {
    "name": "block_card", "description": "blocks a lost card",
    "parameters": {"type": "object", "properties": {"number": {"type": "string"}}}}}]


def test_tools_reach_the_template(client):
    """Whether the model calls one is its own affair: this one was never taught to."""
    without, offered = chat(client), chat(client, tools=TOOLS)
    assert offered.usage.prompt_tokens > without.usage.prompt_tokens + 4
    assert offered.choices[0].message.content
    assert not offered.choices[0].message.tool_calls


@pytest.mark.parametrize("arguments, status, words", [
    ({"tools": TOOLS, "tool_choice": "required"}, 501, "structured output"),
    ({"max_tokens": 100_000}, 400, "max_tokens"),
    ({"response_format": {"type": "json_object"}}, 501, "structured output"),
])
def test_refusals_become_http_errors(client, arguments, status, words):
    with pytest.raises(openai.APIStatusError) as error:
        chat(client, **arguments)
    assert error.value.status_code == status
    assert words in error.value.message


def test_disconnect_cancels(client, server):
    stream = complete(client, max_tokens=240, temperature=1, stream=True,
                      extra_body={"ignore_eos": True})
    request = next(iter(stream)).id
    stream.close()
    ended = re.compile(rf"request ended id={re.escape(request)}\S* code=CANCELLED")
    deadline = time.monotonic() + 10
    while not ended.search((LOGS / "server.log").read_text()):
        assert time.monotonic() < deadline, "the request ran on"
        time.sleep(0.05)


def test_gateway_without_the_model_fetches_its_tokenizer(tmp_path):
    folder = tmp_path / MODEL
    shutil.copytree(conftest.MODEL, folder)
    with running_server("remote-server", folder) as address:
        with grpc.insecure_channel(address) as channel:  # the server keeps what it packed
            list(stubs.VllmEngineStub(channel).GetTokenizer(common_pb2.GetTokenizerRequest()))
        shutil.rmtree(folder)
        with running_gateway("remote-smg", address) as client:
            assert complete(client).choices[0].text.startswith(" to go")
    calls = (LOGS / "remote-server.log").read_text().count("rpc GetTokenizer")
    assert calls == 2
