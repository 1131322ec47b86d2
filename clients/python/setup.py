"""Generates the protobuf messages and stubs when the package is built."""
import importlib.resources
import pathlib

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = HERE.parents[1] / "proto/spade/v1"
PACKAGE = "spade_client/v1"


class BuildWithStubs(build_py):
    def run(self) -> None:
        super().run()
        target = HERE / "src" if self.editable_mode else pathlib.Path(self.build_lib)
        if not self.dry_run:
            generate(target)


def generate(target: pathlib.Path) -> None:
    from grpc_tools import protoc

    if not PROTOS.is_dir():
        raise RuntimeError(f"{PROTOS} is missing: build from a checkout of the whole repository")
    (target / PACKAGE).mkdir(parents=True, exist_ok=True)
    (target / PACKAGE / "__init__.py").write_text("")
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc", f"--proto_path={PACKAGE}={PROTOS}", f"--proto_path={well_known}",
        f"--python_out={target}", f"--pyi_out={target}", f"--grpc_python_out={target}",
        f"{PACKAGE}/inference.proto", f"{PACKAGE}/error_details.proto",
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed")


setup(cmdclass={"build_py": BuildWithStubs})
