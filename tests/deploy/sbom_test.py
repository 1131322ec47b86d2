#!/usr/bin/env python3
"""deploy/sbom: its bill of the built server, against CycloneDX's schema and against the loader."""

import json
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = ROOT / "build/server/spade-server"

try:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
except ImportError:
    JsonStrictValidator = None


class SbomTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run([ROOT / "deploy/sbom", SERVER], capture_output=True, text=True,
                              check=True)
        cls.text = done.stdout
        cls.bill = json.loads(done.stdout)

    @unittest.skipIf(JsonStrictValidator is None, "needs cyclonedx-python-lib from PyPI")
    def test_schema(self):
        self.assertIsNone(JsonStrictValidator(SchemaVersion.V1_5).validate_str(self.text))

    def test_what_the_server_rests_on_is_there(self):
        names = {c["name"] for c in self.bill["components"]}
        self.assertLessEqual({"libc6", "libgrpc++1.51", "libprotobuf32", "libssl3", "zlib1g"}, names)

    def test_every_mapped_library_is_covered(self):
        covered = {p["name"][len("sha256:"):] for c in self.bill["components"]
                   for p in c["properties"] if p["name"].startswith("sha256:")}
        lines = subprocess.run(["ldd", SERVER], capture_output=True, text=True, check=True).stdout
        mapped = {pathlib.Path(p).resolve().name for p in re.findall(r"(/\S+) \(0x", lines)}
        self.assertEqual(covered, mapped)

    def test_components_are_told_apart_and_depended_on(self):
        refs = [c["bom-ref"] for c in self.bill["components"]]
        self.assertEqual(len(refs), len(set(refs)))
        self.assertEqual(sorted(self.bill["dependencies"][0]["dependsOn"]), sorted(refs))
        for component in self.bill["components"]:
            self.assertRegex(component["purl"], r"^pkg:deb/debian/[^/@]+@[^?]+\?arch=\w+$")

    def test_what_is_no_binary_is_an_error(self):
        done = subprocess.run([ROOT / "deploy/sbom", ROOT / "README.md"], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("sbom: ", done.stderr)


if __name__ == "__main__":
    unittest.main()
