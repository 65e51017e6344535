from __future__ import annotations

import hashlib
import io
import itertools
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from accounts.models import User
from media_analysis import custody, services
from media_analysis.health import WorkerBeat
from media_analysis.models import Analysis, CustodyEvent, DeletionReceipt, Delivery, Media, Notification, Submission
from media_analysis.storage import media_storage
from media_analysis.uploads import StagedFile
from reports import issued, seal
from reports import services as reports
from reports.models import IssuedDocument, Report
from sentinel_site import backup, restore, transfer
from sentinel_site.transfer_records import MATCHED, digest_all, label_of, models_to_move
from tests.conftest import PASSWORD, make_user
from tests.media_analysis.factories import a_result
from twitterbot.models import BotState

COUNTED = itertools.count()
PASSPHRASE = "as long as it has to be"


def examine(owner: User, photo: Path, folder: Path) -> Analysis:
    """A photo that came in and was examined, as workers do it, with everything that stays of it."""
    copied = folder / f"{next(COUNTED)}.jpg"
    # Bytes of its own.
    copied.write_bytes(photo.read_bytes() + copied.name.encode())
    content = copied.read_bytes()
    digests = hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest()
    staged = StagedFile(copied, "photo.jpg", len(content), *digests)
    analysis = services.submit_media(owner=owner, source=Submission.Source.WEB, staged=staged)
    claimed = services.claim_analysis(analysis.pk)
    assert claimed is not None
    assert services.finish_analysis(
        claimed, a_result(), {"crop-0-9.jpg": photo.read_bytes(), "frame-9.jpg": photo.read_bytes()}
    )
    return Analysis.objects.get(pk=analysis.pk)


@pytest.fixture
def site(transactional_db: None, photo: Path, tmp_path: Path, settings: Any) -> Analysis:
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    return examine(make_user("owner"), photo, tmp_path)


@pytest.fixture
def told() -> list[str]:
    return []


def stored_names() -> set[str]:
    root = Path(default_storage.path(""))
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def custody_log() -> str:
    said = io.StringIO()
    call_command("check_custody_log", stdout=said, stderr=said)
    return said.getvalue()


def empty_site() -> None:
    """As on a new machine."""
    for table in reversed(models_to_move()):
        if label_of(table) not in MATCHED:
            table._base_manager.all()._raw_delete("default")
    for folder in ("media", "analyses"):
        media_storage().remove_folder(folder)


def rewrite(source: Path, target: Path, change: Any) -> None:
    """The same archive with what `change` makes of each member, by name and content."""
    with tarfile.open(source) as tar, tarfile.open(target, "w") as new:
        for info in tar:
            changed = change(info.name, tar.extractfile(info).read())  # type: ignore[union-attr]
            for name, content in changed:
                added = tarfile.TarInfo(name)
                added.size = len(content)
                new.addfile(added, io.BytesIO(content))


@pytest.mark.slow
def test_a_site_is_as_it_was_after_everything_was_lost(site: Analysis, photo: Path, tmp_path: Path) -> None:
    report = reports.get_report(site, "en")
    pdf, number = reports.read_report(report), report.public_id
    analysis_id, names, log = site.public_id, stored_names(), custody_log()
    rows = digest_all()
    call_command("backup", str(tmp_path / "site.tar"), stdout=io.StringIO())
    Report.objects.all().delete()
    services.delete_media(site.media)
    empty_site()
    said = io.StringIO()
    call_command("restore", str(tmp_path / "site.tar"), stdout=said)
    assert "Restored." in said.getvalue()
    assert "nothing is wrong" in said.getvalue()
    assert (stored_names(), digest_all(), custody_log()) == (names, rows, log)
    restored = Analysis.objects.get(public_id=analysis_id)
    with default_storage.open(restored.evidence[0]) as picture:
        assert picture.read() == photo.read_bytes()
    # The report that somebody holds is known, is the one that is here, and its seal is whole.
    assert issued.find_by_number(number) == issued.find(Report.objects.get().sha256)
    assert reports.read_report(Report.objects.get()) == pdf
    assert seal.check_pdf(pdf).state is seal.State.INTACT
    client = Client()
    assert restored.media.owner.check_password(PASSWORD)
    client.force_login(restored.media.owner, backend="accounts.backends.UsernameOrEmailBackend")
    assert client.get(f"/analyses/{analysis_id}/").status_code == 200


def test_what_was_deleted_since_stays_deleted(site: Analysis, photo: Path, tmp_path: Path, told: list[str]) -> None:
    kept = examine(User.objects.get(), photo, tmp_path).media
    gone = site.media
    backup.write_backup(tmp_path / "site.tar", tell=told.append)
    services.delete_media(gone)
    later = issued.register("d" * 64, IssuedDocument.Kind.REPORT)
    later_file = examine(User.objects.get(), photo, tmp_path).media.public_id
    with pytest.raises(backup.BackupError, match="there is data here"):
        restore.restore(tmp_path / "site.tar", tell=told.append)
    assert Media.objects.count() == 2
    restore.restore(tmp_path / "site.tar", overwrite=True, tell=told.append)
    assert Media.objects.get() == kept
    assert DeletionReceipt.objects.get().media_public_id == gone.public_id
    event = CustodyEvent.objects.get(media_id=gone.public_id, event=custody.Event.DELETED)
    assert event.details["rule"] == "restore"
    assert not [name for name in stored_names() if gone.public_id in name or site.public_id in name]
    # What came after the backup is gone with its files, but for the number of what was issued.
    assert not [name for name in stored_names() if later_file in name]
    assert issued.find("d" * 64) == IssuedDocument.objects.get(public_id=later.public_id)
    assert "nothing is wrong" in custody_log()
    assert not (tmp_path / "data" / restore.KEPT_FILE).exists()


def test_what_is_deleted_while_a_backup_is_made_goes_again(
    site: Analysis, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = backup._copy

    def deleted_between(*arguments: Any) -> None:
        copied(*arguments)
        if Media.objects.exists():
            services.delete_media(site.media)

    monkeypatch.setattr(backup, "_copy", deleted_between)
    public_id = site.media.public_id
    made = backup.write_backup(tmp_path / "site.tar", tell=told.append)
    assert made.deleted == [public_id]
    empty_site()
    restore.restore(tmp_path / "site.tar", tell=told.append)
    assert not Media.objects.exists()
    assert DeletionReceipt.objects.get().media_public_id == public_id
    assert stored_names() == set()
    assert "nothing is wrong" in custody_log()


def test_a_restore_that_was_killed_goes_on(
    site: Analysis, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, names = digest_all(), stored_names()
    backup.write_backup(tmp_path / "site.tar", tell=told.append)
    store = restore._store

    def killed(name: str, *arguments: Any) -> None:
        if name.endswith(".jpg"):
            raise KeyboardInterrupt
        store(name, *arguments)

    monkeypatch.setattr(restore, "_store", killed)
    with pytest.raises(KeyboardInterrupt):
        restore.restore(tmp_path / "site.tar", overwrite=True, tell=told.append)
    monkeypatch.undo()
    restore.restore(tmp_path / "site.tar", tell=told.append)
    assert "Going on with a restore that was interrupted." in told
    assert (digest_all(), stored_names()) == (rows, names)
    assert not transfer.is_under_way()


def test_a_restore_that_was_killed_behind_the_rows_goes_on_there(
    site: Analysis, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    kept = examine(User.objects.get(), photo, tmp_path).media
    Delivery.objects.create(notification=Notification.objects.latest("pk"), channel=Delivery.Channel.EMAIL)
    backup.write_backup(tmp_path / "site.tar", tell=told.append)
    services.delete_media(site.media)
    issued.register("d" * 64, IssuedDocument.Kind.REPORT)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    # The last step but for what is told: all others have changed rows by then.
    monkeypatch.setattr(restore, "_remove_strangers", killed)
    with pytest.raises(KeyboardInterrupt):
        restore.restore(tmp_path / "site.tar", overwrite=True, tell=told.append)
    monkeypatch.undo()
    restore.restore(tmp_path / "site.tar", tell=told.append)
    assert Media.objects.get() == kept
    assert not [name for name in stored_names() if site.media.public_id in name or site.public_id in name]
    assert CustodyEvent.objects.filter(event=custody.Event.DELETED).count() == 1
    assert issued.find("d" * 64)
    assert set(Delivery.objects.values_list("status", flat=True)) == {Delivery.Status.DROPPED}
    assert "nothing is wrong" in custody_log()
    assert not transfer.is_under_way()


def test_what_was_missing_is_told_and_repaired(
    site: Analysis, tmp_path: Path, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    picture = site.evidence[0]
    default_storage.delete(picture)
    name = str(site.media.file)
    Path(default_storage.path(name)).write_bytes(b"other bytes")
    with pytest.raises(SystemExit) as ended:
        call_command("backup", str(tmp_path / "site.tar"), stdout=io.StringIO())
    assert ended.value.code == 1
    assert f"{picture} is missing in the storage" in capsys.readouterr().err
    restore.restore(tmp_path / "site.tar", overwrite=True, tell=told.append)
    assert Analysis.objects.get().evidence == site.evidence[1:]
    assert any(picture in line and "goes without that picture" in line for line in told)
    assert any(name in line and "was not what it should be" in line for line in told)


@pytest.mark.parametrize("damage", ["changed", "dropped", "added", "swapped", "cut", "outside", "listed", "no"])
def test_a_damaged_backup_touches_nothing(site: Analysis, tmp_path: Path, told: list[str], damage: str) -> None:
    whole, broken = tmp_path / "site.tar", tmp_path / "broken.tar"
    backup.write_backup(whole, tell=told.append)
    restore.verify(whole)

    def change(name: str, content: bytes) -> list[tuple[str, bytes]]:
        stranger = f"files/media/{'a' * 24}/"
        changes = {
            ("changed", site.evidence[0]): [(name, content[:-1] + b"!")],
            ("dropped", site.evidence[0]): [],
            ("swapped", backup.DATABASE): [(name, content[:-1])],
            ("added", backup.SUMS): [(f"{stranger}original", b"x"), (name, content)],
            ("outside", backup.SUMS): [(f"{stranger}../../../secret_key", b"x"), (name, content)],
            ("listed", backup.SUMS): [(name, content.replace(b"a", b"b", 1))],
        }
        return changes.get((damage, name.removeprefix(backup.FILES)), [(name, content)])

    if damage == "cut":
        broken.write_bytes(whole.read_bytes()[:-20000])
    elif damage == "no":
        broken.write_bytes(b"something else" * 1000)
    else:
        rewrite(whole, broken, change)
    before, names = digest_all(), stored_names()
    with pytest.raises(backup.BackupError):
        restore.restore(broken, overwrite=True, tell=told.append)
    assert (digest_all(), stored_names()) == (before, names)


def test_keys_go_along_encrypted_and_only_if_asked_for(
    site: Analysis, tmp_path: Path, told: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECRET_KEY", "VAPID_PRIVATE_KEY", "SENTINEL_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    key = settings.SECRET_KEY
    backup.write_backup(tmp_path / "without.tar", tell=told.append)
    backup.write_backup(tmp_path / "with.tar", passphrase=PASSPHRASE, tell=told.append)
    for name in ("without.tar", "with.tar"):
        assert key.encode() not in (tmp_path / name).read_bytes()
    with pytest.raises(backup.BackupError, match="no keys in it"):
        restore.restore(tmp_path / "without.tar", overwrite=True, passphrase=PASSPHRASE, tell=told.append)
    with pytest.raises(backup.BackupError, match="the passphrase is wrong"):
        restore.restore(tmp_path / "with.tar", overwrite=True, passphrase="another", tell=told.append)
    assert Media.objects.exists()
    (tmp_path / "data" / "secret_key").write_text("of the new machine")
    settings.SECRET_KEY = "of the new machine"
    restore.restore(tmp_path / "with.tar", overwrite=True, passphrase=PASSPHRASE, tell=told.append)
    assert (tmp_path / "data" / "secret_key").read_text() == key
    assert (tmp_path / "data" / "secret_key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data" / "signing_key.pem").read_bytes() == settings.SENTINEL_SIGNING_KEY
    assert [path.read_text() for path in (tmp_path / "data").glob("secret_key.replaced-*")] == ["of the new machine"]


def test_nothing_is_sent_a_second_time(site: Analysis, tmp_path: Path, told: list[str]) -> None:
    notification = Notification.objects.get()
    Delivery.objects.create(notification=notification, channel=Delivery.Channel.EMAIL)
    BotState.objects.create()
    backup.write_backup(tmp_path / "site.tar", tell=told.append)
    restore.restore(tmp_path / "site.tar", overwrite=True, tell=told.append)
    assert Delivery.objects.get().status == Delivery.Status.DROPPED
    assert BotState.objects.get().paused
    assert any("The bot on X is paused" in line for line in told)


def test_nothing_is_restored_while_workers_run_or_written_over(
    site: Analysis, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "site.tar"
    backup.write_backup(target, tell=told.append)
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CommandError, match="is there already"):
        call_command("backup", str(target), stdout=io.StringIO())
    monkeypatch.setattr(backup, "_copy", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backup.write_backup(tmp_path / "half.tar", tell=told.append)
    assert not list(tmp_path.glob("half*"))
    WorkerBeat.begin().alive()
    with pytest.raises(CommandError, match=r"worker.* run here"):
        call_command("restore", str(target), overwrite=True, stdout=io.StringIO())


def test_the_list_can_be_checked_by_other_programs(site: Analysis, tmp_path: Path, told: list[str]) -> None:
    made = backup.write_backup(tmp_path / "site.tar", tell=told.append)
    with tarfile.open(tmp_path / "site.tar") as tar:
        names = tar.getnames()
        sums = tar.extractfile(backup.SUMS).read().decode().splitlines()  # type: ignore[union-attr]
        manifest = json.loads(tar.extractfile(backup.MANIFEST).read())  # type: ignore[union-attr]
    assert [line[66:] for line in sums] == names[:-2]
    assert f"{site.media.sha256}  files/{site.media.file}" in sums
    assert manifest["tables"]["media_analysis.media"][0] == 1
    assert made.consistent
