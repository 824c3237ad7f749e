# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure two client libraries against the server of the tests: what the choice of boto3 costs.

Usage, from the root of the repository: build/venv/bin/pip install obstore, then
PYTHONPATH=tests build/venv/bin/python -m s3.clients. Prints a line per measurement: wall and CPU seconds of each
library (the median of three runs that take turns), and their ratio. Only this program needs obstore.
"""

from __future__ import annotations

import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from s3.server import ACCESS_KEY, SECRET_KEY, serve

LIBRARIES = ("boto3", "obstore")
PART, PARTS, THREADS, ROUNDS = 8 << 20, 32, 4, 3


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _boto3(endpoint: str) -> tuple[Callable[[bytes], None], Callable[[int, int], Any], Callable[[str], Any]]:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(
            s3={"addressing_style": "path"},
            max_pool_connections=32,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    at = {"Bucket": "bench", "Key": "disk"}

    def upload(part: bytes) -> None:
        upload_id = client.create_multipart_upload(**at)["UploadId"]

        def send(number: int) -> dict[str, Any]:
            answer = client.upload_part(**at, UploadId=upload_id, PartNumber=number, Body=io.BytesIO(part))
            return {"PartNumber": number, "ETag": answer["ETag"]}

        with ThreadPoolExecutor(THREADS) as pool:
            parts = list(pool.map(send, range(1, PARTS + 1)))
        client.complete_multipart_upload(**at, UploadId=upload_id, MultipartUpload={"Parts": parts})

    def get(offset: int, length: int) -> Any:
        return client.get_object(**at, Range=f"bytes={offset}-{offset + length - 1}")["Body"].read()

    return upload, get, lambda key: client.put_object(Bucket="bench", Key=key, Body=b"x" * 500)


def _obstore(endpoint: str) -> tuple[Callable[[bytes], None], Callable[[int, int], Any], Callable[[str], Any]]:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "bench",
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    def upload(part: bytes) -> None:
        with obstore.open_writer(store, "disk", buffer_size=PART, max_concurrency=THREADS) as writer:
            for _number in range(PARTS):
                writer.write(part)

    return (
        upload,
        lambda offset, length: bytes(obstore.get_range(store, "disk", start=offset, length=length)),
        lambda key: obstore.put(store, key, b"x" * 500, use_multipart=False),
    )


def measure(library: str, endpoint: str) -> dict[str, tuple[float, float]]:
    """Return wall and CPU seconds of each measurement, taken in this process."""
    found: dict[str, tuple[float, float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.monotonic(), _cpu()
        result = work()
        found[name] = (time.monotonic() - wall, _cpu() - cpu)
        return result

    def parallel(length: int, count: int, get: Callable[[int, int], Any]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda number: get(number * length, length), range(count)))

    upload, get, put = timed("import and client", lambda: (_boto3 if library == "boto3" else _obstore)(endpoint))
    part = os.urandom(PART)
    timed("256 MiB up, in parts of 8 MiB", lambda: upload(part))
    timed("256 reads of 1 MiB", lambda: parallel(1 << 20, 256, get))
    timed("512 reads of 64 KiB", lambda: parallel(1 << 16, 512, get))
    timed("200 small objects, one by one", lambda: [put(f"small/{number}") for number in range(200)])
    return found


def main() -> None:
    """Run both, in turn."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
        return
    runs: dict[str, list[dict[str, list[float]]]] = {library: [] for library in LIBRARIES}
    with tempfile.TemporaryDirectory() as place, serve(Path(place) / "ceph") as server:
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        client.create_bucket(Bucket="bench")
        for _round in range(ROUNDS):
            for library in LIBRARIES:
                command = [sys.executable, "-m", "s3.clients", library, server.endpoint]
                runs[library].append(json.loads(subprocess.check_output(command, text=True)))
    for name in runs["boto3"][0]:
        wall, cpu = ([statistics.median(run[name][kind] for run in runs[one]) for one in LIBRARIES] for kind in (0, 1))
        print(
            f"{name}: wall {wall[0]:.2f} and {wall[1]:.2f} s ({wall[0] / wall[1]:.1f}), "
            f"CPU {cpu[0]:.2f} and {cpu[1]:.2f} s"
        )


if __name__ == "__main__":
    main()
