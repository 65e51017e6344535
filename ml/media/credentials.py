"""Content Credentials (C2PA): what a file's makers signed about it, read in a process of its own.

The file is untrusted and the parser large, so it runs apart, shut in as decoders are (:mod:`ml.media.confinement`):
with bounded time and memory, and nothing to reach for, be it manifests on the network or files. Whatever goes wrong
there is UNREADABLE, never an exception here.
No list of trusted signers is configured, so "intact" means that the signature fits the file and nothing was changed
since; who the signer is stands as the certificate has it and was not checked.
"""

from __future__ import annotations

import json
import logging
import mmap
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml.contracts import ContentCredentials, CredentialsStatus
from ml.media.confinement import Limits, confine, die_with_parent, environment

TIMEOUT_SECONDS = 20
MEMORY_BYTES = 2 << 30
# A manifest store begins with a box of this label, in every kind of file.
_MARKER = b"c2pa"
# Digital source types by which a maker declares that a machine made the picture, or parts of it (IPTC's vocabulary).
_GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
_MIME_TYPES = {
    **{"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "heic": "image/heic"},
    **{"mp4": "video/mp4", "mov": "video/quicktime", "avi": "video/avi"},
}
# Where this package lies, so that the other process finds it.
_ROOT = Path(__file__).parents[2]
# At most so many declared actions and characters of a text are kept: a manifest can hold megabytes.
_MOST_ACTIONS, _LONGEST_TEXT = 20, 200

logger = logging.getLogger(__name__)


def read_credentials(path: Path, container: str) -> ContentCredentials:
    """The credentials in a file whose container is known from :func:`ml.media.probe.probe`. Never raises."""
    if container not in _MIME_TYPES or not _has_marker(path):
        return ContentCredentials(CredentialsStatus.NONE)
    command = [sys.executable, "-m", "ml.media.credentials", str(path.resolve()), _MIME_TYPES[container]]
    try:
        # The arguments are our own; the file's content reaches only the parser.
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=TIMEOUT_SECONDS, check=True, cwd=_ROOT, env=environment()
        )
        return _understood(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError, AttributeError) as error:
        logger.warning("Content Credentials of %s could not be read: %s", path, error)
        return ContentCredentials(CredentialsStatus.UNREADABLE)


def _has_marker(path: Path) -> bool:
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_MARKER) >= 0
    except (OSError, ValueError):
        return False


def _understood(store: Mapping[str, Any] | None) -> ContentCredentials:
    """What the parser printed, null for a file without a manifest. Raises LookupError, TypeError and the like."""
    if store is None:
        return ContentCredentials(CredentialsStatus.NONE)
    state = store["state"]
    manifest = store["manifests"][store["active_manifest"]]
    signature = manifest.get("signature_info") or {}
    actions: list[str] = []
    sources: list[str] = []
    for assertion in manifest.get("assertions", []):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            for action in assertion["data"].get("actions", []):
                actions.append(_text(action.get("action")))
                sources.append(str(action.get("digitalSourceType", "")).rpartition("/")[2])
    return ContentCredentials(
        status=CredentialsStatus.INTACT if state in {"Valid", "Trusted"} else CredentialsStatus.BROKEN,
        signer=_text(signature.get("common_name") or signature.get("issuer")),
        issuer=_text(signature.get("issuer")),
        signed_at=_text(signature.get("time")),
        generator=_text(", ".join(_generators(manifest))),
        actions=tuple(actions[:_MOST_ACTIONS]),
        declares_generated=any(source in _GENERATED for source in sources),
    )


def _generators(manifest: Mapping[str, Any]) -> list[str]:
    listed = [
        " ".join(str(entry[key]) for key in ("name", "version") if entry.get(key))
        for entry in manifest.get("claim_generator_info") or []
    ]
    return listed or [str(manifest["claim_generator"])] if listed or manifest.get("claim_generator") else []


def _text(value: object) -> str:
    """Printable and short."""
    return "".join(each for each in str(value or "") if each.isprintable())[:_LONGEST_TEXT]


def _print_store(path: str, mime_type: str) -> None:
    """The other process: reads one file and prints its manifest store and validation state as JSON, or null."""
    import c2pa

    die_with_parent()
    offline = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    with c2pa.Context.from_dict(offline) as context, Path(path).open("rb") as stream:
        confine(Limits(memory=MEMORY_BYTES, processor_seconds=TIMEOUT_SECONDS, seconds=TIMEOUT_SECONDS))
        try:
            with c2pa.Reader(mime_type, stream, context=context) as reader:
                store = {**json.loads(reader.json()), "state": reader.get_validation_state()}
        except c2pa.C2paError.ManifestNotFound:
            store = None
    sys.stdout.write(json.dumps(store))


if __name__ == "__main__":
    _print_store(*sys.argv[1:3])
