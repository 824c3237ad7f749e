# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Copies that the storage makes by itself."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .s3_client import Bucket
from .s3_errors import s3_errors
from .s3_writer import LARGEST_PART

# The largest object that one request copies.
SINGLE_COPY = LARGEST_PART
# The smallest part of a larger one, so that several are copied at once.
_PART = 512 << 20
_THREADS = 4


def copy_object(bucket: Bucket, old: str, new: str, size: int, path: str, *, single: int = SINGLE_COPY) -> None:
    """Copy an object of C(size) bytes; what has the new key is replaced."""
    source = {"Bucket": bucket.name, "Key": old}
    with s3_errors(path):
        if size <= single:
            bucket.client.copy_object(Bucket=bucket.name, Key=new, CopySource=source)
            return
        at = {"Bucket": bucket.name, "Key": new}
        upload = bucket.client.create_multipart_upload(**at)["UploadId"]
        try:
            _copy_parts(bucket.client, at, upload, source, size, min(single, max(_PART, -(-size // 9_000))))
        except BaseException:
            with contextlib.suppress(Exception):
                bucket.client.abort_multipart_upload(**at, UploadId=upload)
            raise


def _copy_parts(client: Any, at: dict[str, str], upload: str, source: dict[str, str], size: int, step: int) -> None:
    def copy(number: int) -> dict[str, Any]:
        first = (number - 1) * step
        last = min(first + step, size) - 1
        answer = client.upload_part_copy(
            **at, UploadId=upload, PartNumber=number, CopySource=source, CopySourceRange=f"bytes={first}-{last}"
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="s3-copy") as pool:
        parts = list(pool.map(copy, range(1, -(-size // step) + 1)))
    client.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})
