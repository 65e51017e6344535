"""Media with an S3-compatible server: imported only where MEDIA_STORAGE_URL names one.

django-storages knows how objects are named, asked for and signed; here is what it lacks for large files: uploads that
the server checks against our own hash, reading of parts that goes on where a connection broke off, bounded listing,
short time-outs, and one exception for everything that means "the storage is away".
"""

from __future__ import annotations

import logging
import os
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from storages.backends.s3 import S3Storage
from storages.utils import clean_name

from media_analysis.storage import Part, StorageAway

logger = logging.getLogger(__name__)

# Up to here a file goes in one request, which the server checks against the file's own SHA-256; larger ones go in
# parts, each with its own.
SINGLE_PUT_BYTES = 64 * 1024 * 1024
PART_BYTES = 16 * 1024 * 1024
CONNECT_SECONDS = 3.0
# Of one request, and of a read that broke off without a byte having come.
TRIES = 2
DELETE_AT_ONCE = 1000


class ObjectStorage(S3Storage):  # type: ignore[misc]
    """``timeout`` in seconds is for each read; ``public_endpoint`` is where browsers reach the server."""

    on_disk = False

    def __init__(self, *, timeout: float = 10.0, public_endpoint: str = "", **options: Any) -> None:
        self.public_endpoint = public_endpoint
        config = Config(
            # Names of buckets become names of hosts with Amazon only.
            s3={"addressing_style": "path" if options.get("endpoint_url") else "auto"},
            signature_version="s3v4",
            connect_timeout=min(CONNECT_SECONDS, timeout),
            read_timeout=timeout,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            max_pool_connections=32,
            # Checksums are sent where we say so: not every server knows the newest ones.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        super().__init__(client_config=config, **options)
        self._made: tuple[int, Any] | None = None

    @property
    def connection(self) -> Any:
        """One for all threads, but not for a forked process: sockets can't be shared."""
        made = self._made
        if made is None or made[0] != os.getpid():
            made = self._made = (os.getpid(), self._connect(self.endpoint_url))
        return made[1]

    @property
    def bucket(self) -> Any:
        return self.connection.Bucket(self.bucket_name)

    def _connect(self, endpoint: str | None) -> Any:
        return self._create_session().resource(
            "s3", region_name=self.region_name, endpoint_url=endpoint, config=self.client_config
        )

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def key_of(self, name: str) -> str:
        """What the object is called in the bucket."""
        key: str = self._normalize_name(clean_name(name))
        return key

    # What Django asks for

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        if mode != "rb":
            raise ValueError("objects are written whole")
        part = ObjectPart(self, self.key_of(name))
        return _OpenObject(part, name)

    def _save(self, name: str, content: File[Any]) -> str:
        body = content.read()
        self._put(name, body, sha256_of(body).digest())
        return name

    def exists(self, name: str) -> bool:
        with _told(name):
            return bool(super().exists(name))

    def delete(self, name: str) -> None:
        with _told(name):
            super().delete(name)

    def size(self, name: str) -> int:
        with _told(name):
            return int(super().size(name))

    def get_modified_time(self, name: str) -> Any:
        with _told(name):
            return super().get_modified_time(name)

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        with _told(name):
            folders, files = super().listdir(name)
            return list(folders), list(files)

    # What media need beside that: see media_analysis.storage.MediaStorage

    def put_file(self, name: str, path: Path, sha256: str) -> str:
        # An object would be replaced without a word.
        if self.exists(name):
            name = self.get_alternative_name(name, "")
        if path.stat().st_size <= SINGLE_PUT_BYTES:
            with path.open("rb") as file:
                self._put(name, file, bytes.fromhex(sha256))
            return name
        with _told(name):
            self._client.upload_file(
                str(path),
                self.bucket_name,
                self.key_of(name),
                ExtraArgs={"ChecksumAlgorithm": "SHA256"},
                Config=TransferConfig(
                    multipart_threshold=SINGLE_PUT_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2
                ),
            )
        if self.size(name) != path.stat().st_size:
            logger.error("%s came to the storage with another size", name)
            self.delete(name)
            raise StorageAway
        return name

    def open_part(self, name: str, start: int, length: int) -> Part:
        return ObjectPart(self, self.key_of(name), start, length)

    def list_folders(self, folder: str, *, after: str, limit: int) -> list[str]:
        prefix = f"{self.key_of(folder)}/"
        # Behind everything that lies in the folder `after`: "0" is the sign after "/".
        begin = {"StartAfter": f"{prefix}{after}0"} if after else {}
        with _told(folder):
            page = self._client.list_objects_v2(
                Bucket=self.bucket_name, Prefix=prefix, Delimiter="/", MaxKeys=limit, **begin
            )
        return [each["Prefix"].removeprefix(prefix).rstrip("/") for each in page.get("CommonPrefixes", ())]

    def remove_folder(self, folder: str) -> None:
        prefix = f"{self.key_of(folder)}/"
        with _told(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket_name, Prefix=prefix)
            keys = [{"Key": each["Key"]} for page in pages for each in page.get("Contents", ())]
            for start in range(0, len(keys), DELETE_AT_ONCE):
                done = self._client.delete_objects(
                    Bucket=self.bucket_name, Delete={"Objects": keys[start : start + DELETE_AT_ONCE], "Quiet": True}
                )
                if done.get("Errors"):
                    logger.error("%s could not be removed: %s", folder, done["Errors"][0])
                    raise StorageAway

    def link(self, name: str, *, seconds: int, content_type: str, disposition: str, cache: str) -> str:
        """An address at which anybody may read the object for so many seconds, with these headers."""
        client = self._connect(self.public_endpoint or self.endpoint_url).meta.client
        asked = {
            "Bucket": self.bucket_name,
            "Key": self.key_of(name),
            "ResponseContentType": content_type,
            "ResponseContentDisposition": disposition,
            "ResponseCacheControl": cache,
        }
        return str(client.generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds))

    def _put(self, name: str, body: Any, digest: bytes) -> None:
        """In one request. A server that knows checksums refuses what does not hash to `digest`."""
        with _told(name):
            self._client.put_object(
                Bucket=self.bucket_name,
                Key=self.key_of(name),
                Body=body,
                ContentType="application/octet-stream",
                ChecksumSHA256=b64encode(digest).decode(),
            )


class ObjectPart:
    """An object, or `length` bytes of it from `start` on, read as they come.

    Goes on where a connection broke off, as long as the object is the same. Raises FileNotFoundError.
    """

    def __init__(self, storage: ObjectStorage, key: str, start: int = 0, length: int | None = None) -> None:
        self._storage = storage
        self._key = key
        self._position = start
        self._end = None if length is None else start + length
        self._tag = ""
        self._body: Any = None
        self._ask()

    @property
    def closed(self) -> bool:
        return self._body is None

    @property
    def size(self) -> int:
        """Bytes that are left."""
        return (self._end or 0) - self._position

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        wanted = min(size, self.size)
        for _ in range(TRIES) if wanted else ():
            try:
                if self._body is None:
                    self._ask()
                content = bytes(self._body.read(wanted))
            except BotoCoreError as error:
                logger.warning("%s broke off at byte %s: %s", self._key, self._position, error)
                content = b""
            if content:
                self._position += len(content)
                return content
            self.close()
        if wanted:
            raise StorageAway
        return b""

    def close(self) -> None:
        if self._body is not None:
            with suppress(BotoCoreError, OSError):
                self._body.close()
            self._body = None

    def _ask(self) -> None:
        last = "" if self._end is None else self._end - 1
        asked = {"Range": f"bytes={self._position}-{last}"} if self._position or self._end is not None else {}
        if self._tag:
            asked["IfMatch"] = self._tag
        with _told(self._key):
            answer = self._storage._client.get_object(Bucket=self._storage.bucket_name, Key=self._key, **asked)
        self._body, self._tag = answer["Body"], answer["ETag"]
        if self._end is None:
            self._end = self._position + int(answer["ContentLength"])


class _OpenObject(File):  # type: ignore[type-arg]
    """What `storage.open` gives: to be read once, from the first byte to the last."""

    def __init__(self, part: ObjectPart, name: str) -> None:
        super().__init__(part, name)  # type: ignore[arg-type]
        self._part = part
        self._size = part.size

    @property
    def size(self) -> int:
        return self._size

    def close(self) -> None:
        self._part.close()


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Raises FileNotFoundError for what is not there, and StorageAway for whatever else goes wrong inside."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in {"404", "NoSuchKey"}:
            raise FileNotFoundError(name) from error
        logger.error("The storage refused %s: %s", name, error)
        raise StorageAway from error
    except (BotoCoreError, Boto3Error) as error:
        logger.error("The storage did not answer about %s: %s", name, error)
        raise StorageAway from error
