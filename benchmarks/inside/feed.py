"""Fill the queue of a site quickly: files go through `services.submit_media`, probed and paid for, but not by HTTP.

    python -m benchmarks.inside.feed FOLDER --count N [--users U] [--name N]

Each user's daily limit is exactly what they are fed; one more file of each is tried, which has to be refused. Prints
one line of JSON: `accepted`, `refused` and `seconds`. Run again under the same name, nothing is taken in twice.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from django.conf import settings

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import services
from media_analysis.models import Submission
from media_analysis.uploads import StagedFile


def stage(path: Path) -> StagedFile:
    """A copy at the door, as if it had been uploaded."""
    handle, staged = tempfile.mkstemp(dir=settings.FILE_UPLOAD_TEMP_DIR)
    os.close(handle)
    shutil.copyfile(path, staged)
    content = path.read_bytes()
    return StagedFile(
        path=Path(staged),
        name=path.name,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
    )


def submit(owner: User, path: Path, key: str) -> bool:
    """False if it was refused because the day's limit is reached."""
    staged = stage(path)
    try:
        services.submit_media(owner=owner, source=Submission.Source.COMMAND, staged=staged, idempotency_key=key)
    except SentinelError as error:
        if error.code is not Code.RATE_LIMITED:
            raise
        return False
    finally:
        staged.path.unlink(missing_ok=True)
    return True


def feed(folder: Path, count: int, users: int, name: str) -> dict[str, float]:
    clips = sorted(folder.iterdir())
    accepted = refused = 0
    began = time.monotonic()
    for number in range(users):
        mine = range(number, count, users)
        owner, _created = User.objects.get_or_create(
            username=f"{name}-{number}",
            defaults={"email": f"{name}-{number}@example.org", "daily_limit": len(mine), "notify_by_email": True},
        )
        for turn, path in zip(mine, islice(cycle(clips), number, None), strict=False):
            accepted += submit(owner, path, f"{name}-{turn}")
        refused += not submit(owner, clips[0], f"{name}-{number}-too-many")
    return {"accepted": accepted, "refused": refused, "seconds": time.monotonic() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--name", default="fed", help="of the users and of the requests")
    options = parser.parse_args()
    print(json.dumps(feed(options.folder, options.count, options.users, options.name)))


if __name__ == "__main__":
    main()
