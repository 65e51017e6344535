"""What an app does, from signing up to deleting: `python example.py SITE FILE`. Needs the generated client."""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path
from typing import TypeVar

from sentinel_client import AuthenticatedClient, Client
from sentinel_client.api.account import delete_account, get_account, sign_up
from sentinel_client.api.analyses import delete_analysis, get_analysis, get_progress, submit
from sentinel_client.api.tokens import log_in
from sentinel_client.models import (
    AccountInputRequest,
    DeleteAccountInputRequest,
    ErrorOutput,
    LogInInputRequest,
    UploadInputRequest,
)
from sentinel_client.types import File

Answer = TypeVar("Answer")


def expect(answer: Answer | ErrorOutput | None) -> Answer:
    """The answer itself; ends the program with the site's own words if it is a refusal."""
    if isinstance(answer, ErrorOutput):
        sys.exit(f"{answer.error}: {answer.message}")
    if answer is None:
        sys.exit("There was an answer that the schema does not know.")
    return answer


def main() -> None:
    site, path = sys.argv[1], Path(sys.argv[2])
    name, password = f"example-{uuid.uuid4().hex[:12]}", "a long and unlikely one"
    anybody = Client(site)
    account = AccountInputRequest(username=name, email=f"{name}@example.org", password=password)
    expect(sign_up.sync(client=anybody, body=account))
    tokens = expect(log_in.sync(client=anybody, body=LogInInputRequest(username=name, password=password)))

    client = AuthenticatedClient(site, token=tokens.access, headers={"Accept-Language": "en"})
    with path.open("rb") as file:
        upload = UploadInputRequest(file=File(payload=file, file_name=path.name))
        analysis = expect(submit.sync(client=client, body=upload, idempotency_key=str(uuid.uuid4())))
    sys.stdout.write(f"accepted {analysis.id}, {expect(get_account.sync(client=client)).limits.remaining} left today\n")

    while not (state := expect(get_progress.sync(analysis.id, client=client))).finished:
        sys.stdout.write(f"{state.status} {state.progress} %\n")
        time.sleep(1)
    found = expect(get_analysis.sync(analysis.id, client=client))
    sys.stdout.write(f"{found.status} {found.outcome} {found.confidence} {found.verdict}\n")

    receipt = expect(delete_analysis.sync(analysis.id, client=client))
    sys.stdout.write(f"deleted {receipt.sha256}\n")
    gone = delete_account.sync_detailed(client=client, body=DeleteAccountInputRequest(password=password))
    sys.exit(0 if gone.status_code == 204 else f"The account is still there: {gone.status_code}")


if __name__ == "__main__":
    main()
