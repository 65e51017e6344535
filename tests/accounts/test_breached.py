"""Passwords known from break-ins, looked up in files."""

from __future__ import annotations

import hashlib
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import breached
from accounts.checks import check_breached_passwords, check_time_outs
from accounts.models import User
from tests.accounts.calls import post
from tests.conftest import PASSWORD

KNOWN = {f"password number {number}": number + 1 for number in range(500)}


def digest(password: str) -> str:
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    path = tmp_path / "pwned.txt"
    lines = sorted(f"{digest(password)}:{count}" for password, count in KNOWN.items())
    path.write_bytes("\r\n".join(lines).encode() + b"\r\n")
    return path


@pytest.fixture
def folder(tmp_path: Path, one_file: Path) -> Path:
    assert breached.split(one_file, tmp_path / "ranges") == len(KNOWN)
    return tmp_path / "ranges"


def test_every_password_of_one_sorted_file_is_found_and_no_other(one_file: Path) -> None:
    assert {password: breached.count(password, one_file) for password in KNOWN} == KNOWN
    assert not any(breached.count(f"another {number}", one_file) for number in range(500))
    # Without a line's end at the end of the file, too.
    one_file.write_bytes(one_file.read_bytes().rstrip())
    assert {password: breached.count(password, one_file) for password in KNOWN} == KNOWN


def test_every_password_of_range_files_is_found_and_no_other(folder: Path) -> None:
    assert {password: breached.count(password, folder) for password in KNOWN} == KNOWN
    name = f"{digest('password number 7')[:5]}.txt"
    (folder / name).write_text("")
    assert breached.count("password number 7", folder) == 0
    assert not list(folder.glob("*.part"))


def test_an_update_replaces_ranges_and_a_broken_one_leaves_them(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "newer.txt"
    source.write_text(f"{digest('password number 7')}:999\n")
    breached.split(source, folder)
    assert breached.count("password number 7", folder) == 999
    for broken in ("no digest\n", f"{'F' * 40}:1\n{'0' * 40}:1\n", f"{digest('password number 7').lower()}:1\n"):
        source.write_text(broken)
        with pytest.raises(breached.BrokenList):
            breached.split(source, folder)
    assert breached.count("password number 7", folder) == 999


@pytest.mark.django_db
def test_a_breached_password_is_refused_wherever_one_is_set(client: Client, one_file: Path, settings: Any) -> None:
    fields = {"username": "asha", "email": "asha@example.org", "password": "password number 7"}
    settings.SENTINEL_BREACHED_PASSWORDS_DIR = str(one_file)
    answer = post(client, "/users/signup", fields)
    assert answer.status_code == 400
    assert "break-in" in answer.json()["errors"]["password"][0]
    assert not User.objects.exists()
    assert post(client, "/users/signup", {**fields, "password": PASSWORD}).status_code == 200


def test_without_a_list_or_with_a_broken_one_the_other_rules_hold_and_the_log_says_so(
    tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    validator = breached.BreachedPasswordValidator()
    settings.SENTINEL_BREACHED_PASSWORDS_DIR = ""
    validator.validate("password number 7")
    assert not caplog.records
    for broken in (tmp_path / "nothing", tmp_path):
        settings.SENTINEL_BREACHED_PASSWORDS_DIR = str(broken)
        validator.validate("password number 7")
    (tmp_path / "list").write_text("x" * 4000)
    settings.SENTINEL_BREACHED_PASSWORDS_DIR = str(tmp_path / "list")
    validator.validate("password number 7")
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert "password number" not in caplog.text
    assert digest("password number 7") not in caplog.text


def test_the_rule_is_among_those_of_the_site(one_file: Path, settings: Any) -> None:
    from django.contrib.auth.password_validation import get_default_password_validators, validate_password

    settings.SENTINEL_BREACHED_PASSWORDS_DIR = str(one_file)
    assert any(isinstance(each, breached.BreachedPasswordValidator) for each in get_default_password_validators())
    with pytest.raises(ValidationError):
        validate_password("password number 7")


def test_the_command_makes_and_checks_a_list(tmp_path: Path, one_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    call_command("breached_passwords", one_file, stdout=out)
    assert "500 passwords: the list is complete." in out.getvalue()
    with pytest.raises(CommandError, match=r"00000\.txt is missing"):
        call_command("breached_passwords", tmp_path / "ranges", "--from", one_file, stdout=out)
    assert "500 passwords written" in out.getvalue()
    # The real list has a million ranges.
    monkeypatch.setattr(breached, "RANGES", 2)
    for number in range(2):
        (tmp_path / "ranges" / f"{number:05X}.txt").write_text(f"{'A' * 35}:{number}\n")
    call_command("breached_passwords", tmp_path / "ranges", stdout=out)
    assert "2 passwords: the list is complete." in out.getvalue()
    with pytest.raises(CommandError):
        call_command("breached_passwords")


def test_checks_name_what_is_wrong_with_the_settings(tmp_path: Path, one_file: Path, settings: Any) -> None:
    assert check_breached_passwords() == []
    settings.SENTINEL_BREACHED_PASSWORDS_DIR = str(tmp_path)
    assert [found.id for found in check_breached_passwords()] == ["accounts.E001"]
    settings.SENTINEL_BREACHED_PASSWORDS_DIR = str(one_file)
    assert check_breached_passwords() == []
    assert check_time_outs() == []
    settings.SENTINEL_STAFF_SESSION_HOURS = 10_000
    assert [found.id for found in check_time_outs()] == ["accounts.W001"]
    settings.SENTINEL_SESSION_HOURS = 0
    assert [found.id for found in check_time_outs()] == ["accounts.E002"]
