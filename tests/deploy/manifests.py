"""What users hand to Kubernetes: the overlays of deploy/k8s and the chart of deploy/helm, rendered."""

import copy
import functools
import pathlib
import shutil
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/spade"
EXAMPLES = ROOT / "deploy/helm/examples"
OVERLAYS = sorted(p.parent for p in (ROOT / "deploy/k8s/overlays").glob("*/kustomization.yaml"))

HAS_KUBECTL = shutil.which("kubectl") is not None
HAS_HELM = shutil.which("helm") is not None


class RenderError(AssertionError):
    """kubectl or helm refused."""


@functools.cache
def _rendered(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RenderError(done.stderr)
    return [d for d in yaml.load_all(done.stdout, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            if d]


def _output(*command):
    """Rendered once in a process; the copy is the caller's."""
    return copy.deepcopy(_rendered(tuple(map(str, command))))


def kustomize(overlay):
    """The resources of an overlay, named by its folder."""
    return _output("kubectl", "kustomize", ROOT / "deploy/k8s/overlays" / overlay)


def values_of(overlay):
    """Arguments of helm that give what the overlay gives. The chart's defaults are `cpu`."""
    return [] if overlay == "cpu" else ["--values", EXAMPLES / f"{overlay}.yaml"]


def helm(*arguments, release="spade", chart=CHART):
    """The chart's resources."""
    return _output("helm", "template", release, chart, "--namespace", "spade",
                   "--kube-version", "1.33", *arguments)


def all_renderings():
    """Resources by name: each overlay as `NAME`, and by the chart as `helm NAME`."""
    rendered = {}
    for overlay in OVERLAYS:
        if HAS_KUBECTL:
            rendered[overlay.name] = kustomize(overlay.name)
        if HAS_HELM:
            rendered[f"helm {overlay.name}"] = helm(*values_of(overlay.name))
    return rendered
