"""clients/python, installed from the repository."""
import asyncio
import hashlib
import json
import os
import pty
import subprocess
import sys
import time

import grpc
import pytest
import spade_client
from spade_client import AsyncClient, Client, Question, tls_credentials

from conftest import MODEL, ROOT, free_port, running_server

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def client(server):
    with Client(server, timeout=60) as client:
        yield client


def test_generate_streams_what_complete_returns(client):
    deltas = list(client.generate(PROMPT, max_tokens=20, temperature=0, logprobs=1))
    whole = client.complete(PROMPT, max_tokens=20, temperature=0)
    assert "".join(d.text for d in deltas) == whole.text
    assert whole.finish_reason == "length" and whole.usage.output_tokens == 20
    assert len(whole.token_ids) == 20 == sum(len(d.logprobs) for d in deltas)
    assert client.detokenize(whole.token_ids) == whole.text


def test_prompt_may_be_token_ids(client):
    ids = client.tokenize(PROMPT)
    by_ids = client.complete(ids, max_tokens=8, temperature=0)
    assert by_ids.text == client.complete(PROMPT, max_tokens=8, temperature=0).text


def test_generation_has_modes(client):
    exact = client.complete(PROMPT, max_tokens=20, temperature=0)
    verified = client.complete(PROMPT, max_tokens=20, temperature=0, mode="verified")
    assert exact.early_tokens is None
    assert verified.token_ids == exact.token_ids
    assert verified.early_tokens.accepted <= verified.early_tokens.exited
    with pytest.raises(ValueError):
        client.complete(PROMPT, mode="quick")


def test_several_continuations(client):
    finished = [d.index for d in client.generate(PROMPT, n=3, max_tokens=4) if d.finish_reason]
    assert sorted(finished) == [0, 1, 2]


def test_leaving_the_iterator_cancels(client):
    deltas = client.generate(PROMPT, max_tokens=240, ignore_eos=True)
    next(deltas)
    deltas.close()
    deadline = time.monotonic() + 10
    while client.info().running > 0:
        assert time.monotonic() < deadline, "the request ran on"
        time.sleep(0.01)


def test_decide(client, questions, labels):
    decision = client.decide(questions[0]["prompt"], labels)
    assert decision.final and decision.label == labels[decision.label_index]
    assert sum(decision.probabilities) == pytest.approx(1, abs=1e-4)
    assert decision.exit_layer == decision.num_layers == 12


def test_verified_previews(client, questions, labels):
    previews = []
    decision = client.decide(questions[0]["prompt"], labels, mode="verified", max_mismatch=0.05,
                             preview=previews.append)
    exact = client.decide(questions[0]["prompt"], labels)
    assert decision.label == exact.label
    assert all(not p.final for p in previews)
    assert decision.corrected == any(p.label != decision.label for p in previews)


def test_decide_many_answers_every_question_once(client, questions, labels):
    counts = []
    answers = list(client.decide_many([q["prompt"] for q in questions] * 10, labels,
                                      max_in_flight=8, progress=counts.append))
    assert sorted(a.index for a in answers) == list(range(400))
    assert counts == list(range(1, 401))
    right = sum(a.unwrap().label == questions[a.index % 40]["label"] for a in answers)
    assert right > 400 * 0.7


def test_decide_many_reads_no_further_than_it_may(client, questions, labels):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield questions[0]["prompt"]

    answers = client.decide_many(endless(), labels, max_in_flight=5)
    for expected in range(1, 50):
        next(answers)
        assert read <= expected + 5
    answers.close()


def test_decide_many_keeps_errors_apart(client, questions, labels):
    asked = [questions[0]["prompt"], Question(questions[1]["prompt"], [" one"]), ""]
    answers = {a.index: a for a in client.decide_many(asked, labels)}
    assert answers[0].error is None
    assert isinstance(answers[1].error, spade_client.InvalidArgument)
    assert "labels" in answers[1].error.message
    with pytest.raises(spade_client.InvalidArgument):
        answers[1].unwrap()


def test_decide_many_raises_what_the_iterable_does(client, questions, labels):
    def broken():
        yield questions[0]["prompt"]
        raise LookupError("no more")

    with pytest.raises(LookupError):
        list(client.decide_many(broken(), labels))


def test_errors_have_codes(client, labels):
    with pytest.raises(spade_client.InvalidArgument) as error:
        client.complete("x", top_p=2)
    assert error.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "sampling.top_p" in error.value.message
    for timeout in (0.001, 0):  # either is a millisecond on the wire, which a short answer can beat
        with pytest.raises(spade_client.DeadlineExceeded):
            client.complete(PROMPT, max_tokens=240, ignore_eos=True, timeout=timeout)
    with pytest.raises(spade_client.FailedPrecondition):
        client.decide("x", [" yes", " no"], mode="fast", max_mismatch=0.01)
    with Client(f"127.0.0.1:{free_port()}") as nobody, pytest.raises(spade_client.Unavailable):
        nobody.info()


def test_full_queue_says_when_to_retry():
    """One request runs, one waits, the next is refused with the server's own delay."""
    limits = ["--max-sequences", "1", "--max-queued-requests", "1"]
    with running_server("busy-server", MODEL, *limits) as address:
        with Client(address, timeout=60) as client:
            streams = [client.generate(PROMPT, max_tokens=240, ignore_eos=True) for _ in range(20)]
            with pytest.raises(spade_client.ResourceExhausted) as error:
                for stream in streams:
                    next(stream)
            assert 0.05 <= error.value.retry_after <= 90  # 0.1 to 60 s, spread by half


def make_certificate(folder, name):
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", f"/CN={name}", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", crt],
        capture_output=True, check=True)
    return crt, key


def test_tls_with_a_certificate_and_a_token(tmp_path):
    server_crt, server_key = make_certificate(tmp_path, "server")
    own_crt, own_key = make_certificate(tmp_path, "client")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice {hashlib.sha256(b'secret').hexdigest()} requests-per-second=0.01\n")
    flags = ["--tls-cert", server_crt, "--tls-key", server_key, "--tls-client-ca", own_crt,
             "--token-file", tokens]

    async def by_asyncio(address, credentials):
        async with AsyncClient(address, credentials=credentials, token="secret") as client:
            return (await client.model()).name

    with running_server("secured-server", MODEL, *map(str, flags)) as address:
        credentials = tls_credentials(server_crt, own_crt, own_key)
        with Client(address, credentials=credentials, token="secret", timeout=20) as client:
            assert client.tokenize(PROMPT)
            with pytest.raises(spade_client.ResourceExhausted) as limited:
                client.complete(PROMPT)
            assert limited.value.retry_after > 10
        assert asyncio.run(by_asyncio(address, credentials)) == MODEL.name
        with Client(address, credentials=credentials, token="wrong", timeout=20) as client:
            with pytest.raises(spade_client.Unauthenticated):
                client.model()
        with Client(address, credentials=tls_credentials(server_crt), timeout=5) as client:
            with pytest.raises(spade_client.SpadeError):
                client.model()


def test_model_and_info(client):
    assert client.model().name == MODEL.name
    assert client.info().max_sequences > 0


def test_asyncio(server, questions, labels):
    async def run():
        async with AsyncClient(server, timeout=60) as client:
            whole = await client.complete(PROMPT, max_tokens=12, temperature=0)
            deltas = [d.text async for d in client.generate(PROMPT, max_tokens=12, temperature=0)]
            assert "".join(deltas) == whole.text
            ids = await client.tokenize(whole.text, add_special_tokens=False)
            assert await client.detokenize(ids) == whole.text
            assert (await client.model()).name == MODEL.name
            assert (await client.info()).device
            one = await client.decide(questions[0]["prompt"], labels)
            answers = [a async for a in client.decide_many(
                (q["prompt"] for q in questions), labels, max_in_flight=3)]
            assert {a.index for a in answers} == set(range(len(questions)))
            assert [a.unwrap().label for a in answers if a.index == 0] == [one.label]
            with pytest.raises(spade_client.InvalidArgument):
                await client.complete("x", top_p=2)
            with pytest.raises(ValueError):
                [a async for a in client.decide_many(["no labels"])]

    asyncio.run(run())


def test_example_with_its_progress_bar(server, labels, tmp_path, questions):
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(q) + "\n" for q in questions))
    ours, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, ROOT / "clients/python/examples/decide_file.py", file, "--address", server,
         "--labels", ",".join(labels), "--mode", "fast", "--max-mismatch", "0.05"],
        stdout=subprocess.PIPE, stderr=terminal, text=True, timeout=60, check=False)
    os.close(terminal)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert len(done.stdout.splitlines()) == len(questions)
    assert f"[{'#' * 40}] 40/40" in shown
    assert "40 answered, 0 failed" in shown


def test_types():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "clients/python/pyproject.toml",
         "--cache-dir", ROOT / "build/clients-mypy", "-p", "spade_client"],
        capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
