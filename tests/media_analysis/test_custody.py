"""The custody log: complete, in order, and every change of it is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client

from accounts.models import User
from media_analysis import custody, services
from media_analysis.custody import Event, Fault
from media_analysis.models import Analysis, CustodyEvent
from tests.media_analysis.factories import a_result, make_analysis
from tests.site_process import SiteProcess

MEDIA = "a" * 24


def three_events() -> None:
    with custody.acting_from("192.0.2.7"):
        custody.record(MEDIA, Event.RECEIVED, size=10)
        custody.record(MEDIA, Event.HASHED, sha256="b" * 64)
        custody.record(MEDIA, Event.VIEWED)


def faults() -> list[Fault]:
    return [finding.fault for finding in custody.check(custody.events_of(MEDIA))]


@pytest.mark.django_db
def test_events_follow_each_other_in_a_chain() -> None:
    three_events()
    events = list(custody.events_of(MEDIA))
    assert [event.number for event in events] == [0, 1, 2]
    assert [event.previous for event in events] == ["", events[0].digest, events[1].digest]
    assert {event.address for event in events} == {"192.0.2.7"}
    assert not faults()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"event": Event.DELETED}, Fault.CHANGED),
        ({"details": {"sha256": "c" * 64}}, Fault.CHANGED),
        ({"actor": "d" * 24}, Fault.CHANGED),
        ({"address_digest": "e" * 64}, Fault.CHANGED),
        ({"previous": ""}, Fault.CHANGED),
        ({"digest": "f" * 64}, Fault.CHANGED),
        ({"address": "192.0.2.8"}, Fault.WRONG_ADDRESS),
        ({"number": 7}, Fault.GAP),
    ],
)
def test_a_changed_event_is_found(change: dict[str, object], fault: Fault) -> None:
    three_events()
    CustodyEvent.objects.filter(number=1).update(**change)
    assert fault in faults()


@pytest.mark.django_db
def test_a_shifted_time_is_found() -> None:
    three_events()
    event = CustodyEvent.objects.get(number=1)
    CustodyEvent.objects.filter(pk=event.pk).update(at=event.at - timedelta(milliseconds=1))
    assert faults() == [Fault.CHANGED]


@pytest.mark.django_db
def test_a_missing_event_is_found() -> None:
    three_events()
    CustodyEvent.objects.filter(number=1).delete()
    assert faults() == [Fault.GAP]


@pytest.mark.django_db
def test_a_rehashed_event_breaks_the_link_to_the_next() -> None:
    three_events()
    event = CustodyEvent.objects.get(number=1)
    event.details = {}
    event.digest = custody.digest_of(event)
    event.save()
    assert faults() == [Fault.BROKEN_LINK]


@pytest.mark.django_db
def test_addresses_can_go_and_the_chain_stays_whole() -> None:
    user = User.objects.create_user("owner", "owner@example.org")
    with custody.acting_from("2001:db8::1"):
        custody.record(MEDIA, Event.VIEWED, actor=user)
    assert custody.forget_addresses(user) == 1
    assert CustodyEvent.objects.get().address == ""
    assert not faults()


@pytest.mark.django_db
def test_a_file_s_life_is_recorded(client: Client) -> None:
    owner = User.objects.create_user("owner", "owner@example.org")
    analysis = make_analysis(owner)
    Analysis.objects.filter(pk=analysis.pk).update(status=Analysis.Status.QUEUED)
    claimed = services.claim_analysis(analysis.pk)
    assert claimed is not None
    assert services.finish_analysis(claimed, a_result(), {})
    client.force_login(owner)
    client.post(f"/media/{analysis.media.public_id}/delete/", REMOTE_ADDR="192.0.2.9")
    recorded = [(event.event, event.actor, event.address) for event in custody.events_of(analysis.media.public_id)]
    assert recorded[-2:] == [(Event.ANALYSED, "", ""), (Event.DELETED, owner.public_id, "192.0.2.9")]


@pytest.mark.slow
def test_parallel_writers_make_one_chain_without_gaps(prepared: Path, tmp_path: Path) -> None:
    """Real processes with two threads each, on a database of their own."""
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    code = f"""
import threading
import django
django.setup()
from django.db import connection
from media_analysis import custody
def write():
    for _ in range(20):
        custody.record({MEDIA!r}, custody.Event.VIEWED)
    connection.close()
threads = [threading.Thread(target=write) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    environment = SiteProcess(data).environment
    writers = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(4)]
    assert [writer.wait(timeout=120) for writer in writers] == [0] * 4
    count = f"""
import django
django.setup()
from media_analysis import custody
print(custody.events_of({MEDIA!r}).count(), custody.check(custody.events_of({MEDIA!r})))
"""
    said = subprocess.run([sys.executable, "-c", count], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "160 []\n"
