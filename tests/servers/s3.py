# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3-compatible server of a test's own: moto's, in a process of its own, on loopback.

It answers one request after another: moto checks a conditional write and does it in two steps.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

BUCKET = "headroom"
STOP_S = 30


class S3:
    """A server that runs; ``environment`` is how a client finds it, with a canary for the secret."""

    def __init__(self, url: str) -> None:
        self.secret = f"canary{secrets.token_hex(12)}"
        self.environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="tester",
            aws_secret_access_key=self.secret,
        )

    def url(self, name: str) -> str:
        """URL of a place in the bucket."""
        return f"s3://{BUCKET}/{name}"

    def content(self, name: str) -> dict[str, bytes]:
        """Every object below a place."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return {key: self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


@contextmanager
def running() -> Iterator[S3]:
    """A server with one empty bucket, from here to the end of the block."""
    server = subprocess.Popen(
        [sys.executable, Path(__file__), "serve"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        found = S3(server.stdout.readline().strip())
        found.client.create_bucket(Bucket=BUCKET)
        yield found
    finally:
        server.terminate()
        server.communicate(timeout=STOP_S)


def serve() -> None:
    """Be the server: print its URL and answer until the end."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve()
