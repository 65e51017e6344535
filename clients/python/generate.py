"""Writes the client made from docs/openapi.yaml: `python clients/python/generate.py FOLDER`.

Ends with an error if there is anything in the schema that the generator leaves out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SCHEMA = HERE.parent.parent / "docs" / "openapi.yaml"


def with_one_encoding_each(schema: dict[str, Any]) -> dict[str, Any]:
    """Where JSON, form and multipart say the same, the generator would send all three at once: JSON is enough."""
    for operations in schema["paths"].values():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                kept = content["application/json"]["schema"]
                operation["requestBody"]["content"] = {
                    kind: found
                    for kind, found in content.items()
                    if kind == "application/json" or found["schema"] != kept
                }
    return schema


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    schema = with_one_encoding_each(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        yaml.safe_dump(schema, file, sort_keys=False)
        file.flush()
        command = ["openapi-python-client", "generate", "--meta", "none", "--overwrite", "--fail-on-warning"]
        command += [
            "--path",
            file.name,
            "--config",
            f"{HERE}/config.yaml",
            "--output-path",
            f"{folder}/sentinel_client",
        ]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
