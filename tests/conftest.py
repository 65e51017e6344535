from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from tests.media_factory import make_image, make_video
from tests.site_process import prepare_data

PASSWORD = "a long and unlikely one"

if connection.vendor == "mongodb":
    from tests import on_mongodb

    on_mongodb.empty_quickly()


@pytest.fixture(autouse=True)
def _own_folders(settings: Any, tmp_path: Path) -> None:
    """Each test writes below its own folder, and does not spend its time on hashing passwords."""
    settings.MEDIA_ROOT = tmp_path / "stored"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "incoming"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir()
    # All tests come from one address; those of the rates ask for their own.
    settings.SENTINEL_API_RATE_USER = settings.SENTINEL_API_RATE_ANONYMOUS = settings.SENTINEL_API_RATE_SIGN_UP = ""
    settings.SENTINEL_CHECK_RATE = ""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


def make_user(name: str, **fields: Any) -> User:
    return User.objects.create_user(name, f"{name}@example.org", PASSWORD, **fields)


@pytest.fixture
def owner(db: None) -> User:
    return make_user("owner")


@pytest.fixture
def stranger(db: None) -> User:
    return make_user("stranger")


@pytest.fixture
def admin(db: None) -> User:
    return make_user("admin", is_staff=True, is_superuser=True)


@pytest.fixture
def as_owner(owner: User) -> Client:
    client = Client()
    client.force_login(owner, backend="accounts.backends.UsernameOrEmailBackend")
    return client


@pytest.fixture
def as_stranger(stranger: User) -> Client:
    client = Client()
    client.force_login(stranger, backend="accounts.backends.UsernameOrEmailBackend")
    return client


@pytest.fixture
def as_admin(admin: User) -> Client:
    client = Client()
    client.force_login(admin, backend="accounts.backends.UsernameOrEmailBackend")
    return client


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of counted frames, without a face."""
    return make_video(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=1)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("photos") / "photo.jpg")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a site that has just been set up, to be copied; the processes of one run share it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "prepared"
    with (root / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            prepare_data(root / "preparing")
            (root / "preparing").rename(folder)
    return folder
