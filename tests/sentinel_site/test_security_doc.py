"""docs/security.md and docs/bad-days.md say only what is there: every number of the standard, and tests that exist."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SECURITY, BAD_DAYS = ROOT / "docs/security.md", ROOT / "docs/bad-days.md"
TEST = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")

# OWASP ASVS 4.0.3, levels 1 and 2: section → its requirements. Missing ones were deleted, or are of level 3.
NUMBERS: dict[str, list[int]] = {
    **{
        "1.1": [1, 2, 3, 4, 5, 6, 7],
        "1.2": [1, 2, 3, 4],
        "1.4": [1, 4, 5],
        "1.5": [1, 2, 3, 4],
        "1.6": [1, 2, 3, 4],
        "1.7": [1, 2],
        "1.8": [1, 2],
        "1.9": [1, 2],
        "1.10": [1],
        "1.11": [1, 2],
        "1.12": [2],
        "1.14": [1, 2, 3, 4, 5, 6],
    },
    **{
        "2.1": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        "2.2": [1, 2, 3],
        "2.3": [1, 2, 3],
        "2.4": [1, 2, 3, 4, 5],
        "2.5": [1, 2, 3, 4, 5, 6, 7],
        "2.6": [1, 2, 3],
        "2.7": [1, 2, 3, 4, 5, 6],
        "2.8": [1, 2, 3, 4, 5, 6, 7],
        "2.9": [1, 2, 3],
        "2.10": [1, 2, 3, 4],
    },
    **{"3.1": [1], "3.2": [1, 2, 3, 4], "3.3": [1, 2, 3, 4], "3.4": [1, 2, 3, 4, 5], "3.5": [1, 2, 3], "3.7": [1]},
    **{"4.1": [1, 2, 3, 5], "4.2": [1, 2], "4.3": [1, 2, 3]},
    **{
        "5.1": [1, 2, 3, 4, 5],
        "5.2": [1, 2, 3, 4, 5, 6, 7, 8],
        "5.3": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        "5.4": [1, 2, 3],
        "5.5": [1, 2, 3, 4],
    },
    **{"6.1": [1, 2, 3], "6.2": [1, 2, 3, 4, 5, 6], "6.3": [1, 2], "6.4": [1, 2]},
    **{"7.1": [1, 2, 3, 4], "7.2": [1, 2], "7.3": [1, 3, 4], "7.4": [1, 2, 3]},
    **{"8.1": [1, 2, 3, 4], "8.2": [1, 2, 3], "8.3": [1, 2, 3, 4, 5, 6, 7, 8]},
    **{"9.1": [1, 2, 3], "9.2": [1, 2, 3, 4]},
    **{"10.2": [1, 2], "10.3": [1, 2, 3]},
    **{"11.1": [1, 2, 3, 4, 5, 6, 7, 8]},
    **{"12.1": [1, 2, 3], "12.2": [1], "12.3": [1, 2, 3, 4, 5, 6], "12.4": [1, 2], "12.5": [1, 2], "12.6": [1]},
    **{"13.1": [1, 3, 4, 5], "13.2": [1, 2, 3, 5, 6], "13.3": [1, 2], "13.4": [1, 2]},
    **{
        "14.1": [1, 2, 3, 4],
        "14.2": [1, 2, 3, 4, 5, 6],
        "14.3": [2, 3],
        "14.4": [1, 2, 3, 4, 5, 6, 7],
        "14.5": [1, 2, 3, 4],
    },
}


def rows() -> list[list[str]]:
    """The lines about requirements: number, level, what is asked, state, why."""
    found = re.findall(
        r"^\| (\d+\.\d+\.\d+) \| (\d) \| (.*?) \| (.*?) \| (.*?) \|$", SECURITY.read_text(), re.MULTILINE
    )
    return [list(each) for each in found]


@lru_cache
def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("document", [SECURITY, BAD_DAYS], ids=lambda path: path.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = TEST.findall(document.read_text())
    assert len(named) > 10
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / "tests" / file).is_file() or name not in functions_of(ROOT / "tests" / file)
    ]
    assert missing == []
    # None is named in another way, by which it would go unseen here.
    assert len(re.findall(r"\.py::", document.read_text())) == len(named)


def test_every_requirement_is_there_once() -> None:
    text = SECURITY.read_text()
    listed = [row[0] for row in rows() if row[3] not in {"not met", "partly"}]
    again = [row[0] for row in rows() if row[3] in {"not met", "partly"}]
    # What is open stands at the top and in its chapter.
    assert sorted(again) == sorted([number for number in set(again) for _ in range(2)])
    expected = {f"{section}.{number}" for section, numbers in NUMBERS.items() for number in numbers}
    assert len(expected) == 259
    assert set(listed) | set(again) == expected
    assert len(listed) == len(set(listed))
    top = text[text.index("## Not met") : text.index("## What is protected")]
    assert set(re.findall(r"^\| (\d+\.\d+\.\d+) \|", top, re.MULTILINE)) == set(again)


def test_every_line_has_what_shows_it_or_a_reason() -> None:
    for number, level, asked, state, why in rows():
        assert level in "12", number
        assert len(asked) > 10, number
        match state:
            case "met":
                assert TEST.search(why), number
            case "stated":
                paths = [
                    name for name in re.findall(r"`([^`]+)`", why) if "/" in name or "." in name or name[0].isupper()
                ]
                assert paths, number
                assert all((ROOT / name).exists() for name in paths), (number, paths)
            case "n/a" | "partly" | "not met":
                assert len(why) > 15, number
            case _:
                raise AssertionError(f"{number}: {state}")


def test_the_count_at_the_top_is_right() -> None:
    states = {row[0]: row[3] for row in rows()}
    told = re.search(
        r"(\d+) are met and shown by tests, (\d+) stated, (\d+) do not apply, (\d+) are met in part, (\d+) are not",
        SECURITY.read_text(),
    )
    assert told
    counted = [list(states.values()).count(state) for state in ("met", "stated", "n/a", "partly", "not met")]
    assert [int(each) for each in told.groups()] == counted


def test_everything_of_others_that_browsers_are_sent_is_listed() -> None:
    table = SECURITY.read_text()
    for folder in (ROOT / "static/vendor").iterdir():
        assert f"`static/vendor/{folder.name}`" in table
    requirements = (ROOT / "requirements.txt").read_text()
    assert "drf-spectacular[sidecar]" in requirements
    from importlib.metadata import metadata

    about = str(metadata("drf-spectacular-sidecar"))
    for name in ("Swagger UI", "Redoc"):
        version = re.search(rf"`{name}`_ version ``([\d.]+)``", about)
        assert version
        assert f"| {version[1]} |" in next(line for line in table.splitlines() if line.startswith(f"| {name} |"))


def test_the_list_of_components_has_all_of_them() -> None:
    made = subprocess.run([sys.executable, ROOT / "scripts/sbom"], capture_output=True, text=True, check=True)
    listed = json.loads(made.stdout)
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    found = {each["name"]: each for each in listed["components"]}
    assert len(found) == len(listed["components"])
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if pinned := re.match(r"([\w.-]+)(?:\[[^]]*\])?==([^ ;]+)\s*$", line):
            name = re.sub(r"[-_.]+", "-", pinned[1]).lower()
            assert found[name]["purl"] == f"pkg:pypi/{name}@{pinned[2]}"
    # What they bring along too.
    assert {"sqlparse", "asgiref"} <= set(found)
    assert found["django"]["licenses"]
