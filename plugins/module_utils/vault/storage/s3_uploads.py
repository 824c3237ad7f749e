# Copyright: (c) 2026, ovm.backup contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: not a public API, may change in any release.

"""Uploads that nobody finished: nobody sees them, but they cost room until somebody gives them up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .s3_client import Bucket
from .s3_errors import code_of, s3_errors


@dataclass(frozen=True)
class Upload:
    """A multipart upload. C(begun) is in seconds since 1970 by the clock of the storage."""

    key: str
    id: str
    path: str
    begun: float

    def active(self, bucket: Bucket) -> float:
        """Return when the last part came, or when it was begun if there is none."""
        last = self.begun
        with s3_errors(self.path):
            try:
                pages = bucket.client.get_paginator("list_parts")
                for page in pages.paginate(Bucket=bucket.name, Key=self.key, UploadId=self.id):
                    last = max([last, *(part["LastModified"].timestamp() for part in page.get("Parts", ()))])
            except Exception as error:
                if code_of(error) != "NoSuchUpload":  # else it has been finished or given up meanwhile
                    raise
        return last


def find_uploads(bucket: Bucket, prefix: str, path: str) -> Iterator[Upload]:
    """Yield the uploads to keys that begin so."""
    for page in bucket.pages("list_multipart_uploads", path, Prefix=prefix):
        for found in page.get("Uploads", ()):
            yield Upload(found["Key"], found["UploadId"], path, found["Initiated"].timestamp())


def abort_upload(bucket: Bucket, upload: Upload) -> None:
    """Give an upload up; one that is no more is fine."""
    with s3_errors(upload.path):
        try:
            bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload.key, UploadId=upload.id)
        except Exception as error:
            if code_of(error) != "NoSuchUpload":
                raise
