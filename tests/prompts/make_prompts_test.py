#!/usr/bin/env python3
"""tools/prompts: questions and answers fit the inbox, parts share no message, labels are one token."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/prompts"))
sys.dont_write_bytecode = True

import tasks  # noqa: E402

OUTSIDE = 60
PER_INTENT = 4


def write_clinc(folder):
    """CLINC150 in small: a message says which intent it has. Returns {message: (area, intent)}."""
    domain_of = {area: domain for domain, area in tasks.AREAS.items()}
    known = {f"{intent} {number} in {area}": (area, intent)
             for area, intents in tasks.INTENTS.items() for intent in intents
             for number in range(PER_INTENT)}
    outside = {f"nothing {number}": (None, None) for number in range(OUTSIDE)}
    (folder / "domains.json").write_text(json.dumps(
        {domain_of[area]: list(intents) for area, intents in tasks.INTENTS.items()}))
    (folder / "data.json").write_text(json.dumps({
        "test": [[text, intent] for text, (_, intent) in known.items()],
        "oos_test": [[text, "oos"] for text in outside]}))
    return known | outside


class MakePromptsTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.known = write_clinc(self.folder)

    def run_tool(self, *arguments):
        return subprocess.run(
            [sys.executable, ROOT / "tools/prompts/make_prompts.py", "--clinc",
             self.folder / "data.json", "--domains", self.folder / "domains.json", "--split", "test",
             *arguments], capture_output=True, text=True, check=False, timeout=60)

    def make(self, *arguments):
        """[(messages in order, prompt's object)]"""
        done = self.run_tool(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        prompts = [json.loads(line) for line in done.stdout.splitlines()]
        return [(re.findall(r"^\d+\. (.*)$", p["prompt"], re.M), p) for p in prompts]

    def test_area_is_of_the_message_asked_about(self):
        for messages, prompt in self.make("--count", "50"):
            area, _ = self.known[messages[prompt["i"] - 1]]
            self.assertEqual(prompt["label"], " " + area)
            self.assertTrue(prompt["prompt"].endswith(f"\nArea of message {prompt['i']}:"))

    def test_intents_are_asked_of_one_area(self):
        for messages, prompt in self.make("--count", "50", "--task", "intent", "--area", "food"):
            area, intent = self.known[messages[prompt["i"] - 1]]
            self.assertEqual(area, "food")
            self.assertEqual(prompt["label"], " " + tasks.INTENTS["food"][intent])

    def test_same_compares_two_messages_half_of_them_alike(self):
        labels = []
        for messages, prompt in self.make("--count", "200", "--task", "same"):
            j, k = map(int, re.search(r"messages (\d+) and (\d+):$", prompt["prompt"]).groups())
            alike = self.known[messages[j - 1]][0] == self.known[messages[k - 1]][0]
            self.assertEqual(prompt["label"], " yes" if alike else " no")
            labels.append(prompt["label"])
        self.assertGreater(labels.count(" yes"), 60)
        self.assertGreater(labels.count(" no"), 60)

    def test_scope_asks_about_messages_without_an_area(self):
        prompts = self.make("--count", "100", "--task", "scope")
        for messages, prompt in prompts:
            area, _ = self.known[messages[prompt["i"] - 1]]
            self.assertEqual(prompt["label"], " no" if area is None else " yes")
        self.assertGreater(sum(p["label"] == " no" for _, p in prompts), 25)

    def test_parts_share_no_message_and_certification_asks_about_each_once(self):
        for task in ("area", "same", "scope"):
            of_part, asked = {}, []
            for messages, prompt in self.make("--count", "300", "--task", task, "--parts"):
                of_part.setdefault(prompt["part"], set()).update(messages)
                if prompt["part"] == "certification":
                    asked.append(messages[prompt["i"] - 1])
            fit, validation, certification = (
                of_part[part] for part in ("fit", "validation", "certification"))
            self.assertFalse(fit & validation or fit & certification or validation & certification)
            self.assertEqual(len(asked), len(set(asked)), task)

    def test_same_arguments_give_the_same_prompts(self):
        self.assertEqual(self.make("--count", "20"), self.make("--count", "20"))
        self.assertNotEqual(self.make("--count", "20"), self.make("--count", "20", "--seed", "2"))

    def test_intents_without_an_area_are_refused(self):
        done = self.run_tool("--task", "intent")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--area", done.stderr)


class LabelsTest(unittest.TestCase):
    def test_every_label_is_one_token_of_the_bundled_models(self):
        for file in (ROOT / "models").glob("*/tokenizer.json"):
            vocabulary = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"]
            labels = tasks.labels("area") + tasks.labels("same")
            labels += [label for area in tasks.INTENTS for label in tasks.labels("intent", area)]
            self.assertEqual([label for label in labels
                              if label.replace(" ", "Ġ") not in vocabulary], [])

    def test_labels_of_an_area_differ(self):
        for area, intents in tasks.INTENTS.items():
            self.assertEqual(len(set(intents.values())), 15, area)


if __name__ == "__main__":
    unittest.main()
