# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Prometheus server of a test's own: Debian's, on loopback, in a temporary folder, on a past that promtool wrote."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

START_S = 60
STOP_S = 30


@contextmanager
def running(folder: Path, openmetrics: str, *, certificate: bool = False) -> Iterator[str]:
    """A server that has these samples, back-filled; yields its URL. Its certificate is ``folder / "ca.pem"``."""
    folder.mkdir(exist_ok=True)
    past, data = folder / "past.om", folder / "data"
    past.write_text(openmetrics)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", past, data], check=True, stdout=subprocess.DEVNULL
    )
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 15s}\n")
    web = folder / "web.yml"
    web.write_text(_certified(folder) if certificate else "{}\n")
    port = _free_port()
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=20y",  # else what is back-filled is soon dropped
                f"--web.listen-address=127.0.0.1:{port}",
                f"--web.config.file={web}",
            ],
            stdout=output,
            stderr=output,
        )
    url = f"http{'s' if certificate else ''}://127.0.0.1:{port}"
    try:
        _await(url, server, folder / "ca.pem" if certificate else None, log)
        yield url
    finally:
        server.terminate()
        server.wait(STOP_S)


def _await(url: str, server: subprocess.Popen[bytes], authority: Path | None, log: Path) -> None:
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority))
    opener = urllib.request.build_opener(tls)
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(f"{url}/-/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"Prometheus does not start: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _certified(folder: Path) -> str:
    """Write a certificate that vouches for itself; return the server's settings."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test's own")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=12))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return f"tls_server_config: {{cert_file: {folder}/ca.pem, key_file: {folder}/key.pem}}\n"
