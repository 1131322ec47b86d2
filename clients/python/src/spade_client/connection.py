"""How a client proves who it is."""
from __future__ import annotations

import pathlib

import grpc

Path = str | pathlib.Path


def tls_credentials(
    ca_file: Path | None = None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
) -> grpc.ChannelCredentials:
    """TLS from PEM files: the authority of the server's certificate (default: the system's), and
    this client's own certificate and key where the server asks for one."""
    if (certificate_file is None) != (key_file is None):
        raise ValueError("certificate_file and key_file go together")

    def read(path: Path | None) -> bytes | None:
        return None if path is None else pathlib.Path(path).read_bytes()

    return grpc.ssl_channel_credentials(read(ca_file), read(key_file), read(certificate_file))


def token_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """What every call carries."""
    return () if token is None else (("authorization", f"Bearer {token}"),)
