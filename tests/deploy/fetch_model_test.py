#!/usr/bin/env python3
"""tools/fetch-model against a hub on localhost: ranges, broken downloads, wrong checksums."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/deploy"))

from fake_hub import FakeHub, sums  # noqa: E402

WEIGHTS = bytes(range(256)) * 40
MODEL = {"config.json": b"{}", "tokenizer.json": b'{"model": 1}', "model.safetensors": WEIGHTS}


class FetchModelTest(unittest.TestCase):
    def setUp(self):
        self.hub = FakeHub({**MODEL, "README.md": b"words", "pytorch_model.bin": b"old"})
        self.addCleanup(self.hub.close)
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_tool(self, *arguments, **environment):
        return subprocess.run(
            [sys.executable, ROOT / "tools/fetch-model", *arguments], text=True,
            capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
            env={**os.environ, "HF_ENDPOINT": self.hub.url, "no_proxy": "*", **environment})

    def fetch(self, *arguments, source="org/tiny", **environment):
        return self.run_tool(source, "--out", str(self.folder), *arguments, **environment)

    def assert_whole(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        for name, content in MODEL.items():
            self.assertEqual((self.folder / name).read_bytes(), content, name)
        self.assertEqual(list(self.folder.glob("*.part")), [])

    def assert_error(self, done, *words):
        self.assertEqual(done.returncode, 1, done.stdout)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_fetches_what_the_server_reads_and_no_more(self):
        self.assert_whole(self.fetch())
        self.assertEqual(sorted(self.hub.fetched()), sorted(MODEL))
        self.assertEqual(self.run_tool("--verify", str(self.folder)).returncode, 0)

    def test_certificates_come_along(self):
        names = set(re.findall(r'"(spade[\w-]*\.safetensors)"',
                               (ROOT / "server/server_options.cc").read_text()))
        self.assertGreaterEqual(len(names), 2)
        for files in (self.hub.files, self.hub.listed):
            files.update({name: b"certificate" for name in names})
        self.assertEqual(self.fetch().returncode, 0)
        self.assertLessEqual(names, set(self.hub.fetched()))

    def test_a_second_run_downloads_nothing(self):
        self.fetch()
        self.hub.requests.clear()
        self.assert_whole(self.fetch())
        self.assertEqual(self.hub.fetched(), [])

    def test_shards_come_with_their_index(self):
        del self.hub.listed["model.safetensors"]
        for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                     "model.safetensors.index.json"):
            self.hub.files[name] = self.hub.listed[name] = name.encode()
        self.assertEqual(self.fetch().returncode, 0)
        self.assertTrue((self.folder / "model-00002-of-00002.safetensors").exists())
        self.assertTrue((self.folder / "model.safetensors.index.json").exists())

    def test_a_broken_download_goes_on_where_it_stopped(self):
        self.hub.cut_after = 4000
        self.assert_whole(self.fetch())
        asked = [r for path, r, _ in self.hub.requests if path == "/store/model.safetensors"]
        self.assertEqual(asked, [None, "bytes=4000-", "bytes=8000-"])

    def test_what_an_earlier_run_left_is_used(self):
        (self.folder / "model.safetensors.part").write_bytes(WEIGHTS[:7000])
        self.assert_whole(self.fetch())
        asked = [r for path, r, _ in self.hub.requests if path == "/store/model.safetensors"]
        self.assertEqual(asked, ["bytes=7000-"])

    def test_a_start_of_another_version_is_thrown_away(self):
        (self.folder / "model.safetensors.part").write_bytes(b"x" * 7000)
        self.assert_whole(self.fetch())

    def test_a_server_without_ranges_starts_again(self):
        self.hub.ranges = False
        (self.folder / "model.safetensors.part").write_bytes(WEIGHTS[:7000])
        self.assert_whole(self.fetch())

    def test_gives_up_after_some_tries_and_keeps_what_it_has(self):
        self.hub.cut_after = 100
        self.assert_error(self.fetch(), "model.safetensors", "broke off", "run the command again")
        self.assertEqual((self.folder / "model.safetensors.part").stat().st_size, 500)

    def test_wrong_checksums_are_refused(self):
        for name in ("config.json", "model.safetensors"):
            with self.subTest(name):
                self.hub.files = {**MODEL, name: bytes(len(MODEL[name]))}
                self.assert_error(self.fetch(), name, "checksum is wrong")
                self.assertFalse((self.folder / name).exists())

    def test_pinned_sums_are_checked(self):
        pin = self.folder / "pin"
        pin.write_text(sums(MODEL))
        self.assert_whole(self.fetch("--sums", str(pin)))
        pin.write_text(sums({**MODEL, "model.safetensors": b"another"}))
        self.assert_error(self.fetch("--sums", str(pin)), "model.safetensors", "checksum is wrong")

    def test_a_plain_folder_needs_its_sums(self):
        self.assert_whole(self.fetch(source=self.hub.url + "/plain"))
        self.assert_error(self.fetch(source=self.hub.url + "/elsewhere"), "404", "SHA256SUMS")

    def test_verify_finds_a_changed_file(self):
        self.fetch()
        (self.folder / "config.json").write_text("{ }")
        self.assert_error(self.run_tool("--verify", str(self.folder)), "config.json", "wrong")

    def test_the_token_goes_to_the_hub_only(self):
        self.hub.token = "secret"
        self.assert_error(self.fetch(HF_TOKEN=""), "401", "HF_TOKEN")
        self.assert_whole(self.fetch(HF_TOKEN="secret"))
        leaked = [path for path, _, token in self.hub.requests if token and "/store/" in path]
        self.assertEqual(leaked, [])

    def test_models_that_the_server_cannot_load_are_refused_before_the_download(self):
        del self.hub.listed["model.safetensors"]
        self.assert_error(self.fetch(), "no model.safetensors")
        self.assertEqual(self.hub.fetched(), [])

    def test_errors_say_what_to_change(self):
        self.assert_error(self.fetch(source="org/other"), "404", "check the name")
        self.assert_error(self.fetch(source="tiny"), "OWNER/NAME")
        self.assert_error(self.fetch(HF_ENDPOINT="http://127.0.0.1:1"), "cannot reach",
                          "needs a network", "--model")


if __name__ == "__main__":
    unittest.main()
