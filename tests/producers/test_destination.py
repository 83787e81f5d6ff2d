import hashlib
from pathlib import Path

from crewmem_producers.destination import outbox_files, outbox_path
from crewmem_producers.settings import CrewSettings, load


def path(tmp_path: Path, **arguments: object) -> Path:
    return outbox_path(load(CrewSettings, home=tmp_path, **arguments))


def test_the_name_is_a_digest_of_transport_address_namespace_and_key(tmp_path: Path) -> None:
    expected = hashlib.sha256(b"http\nhttp://x:1\ncrewmem\nam_live_1").hexdigest()[:16]
    assert path(tmp_path, base_url="http://x:1/", api_key="am_live_1") == tmp_path / "outbox" / f"{expected}.sqlite3"


def test_on_kafka_it_is_the_tenant_that_counts(tmp_path: Path) -> None:
    expected = hashlib.sha256(b"kafka\nbroker:9092\nns\nacme").hexdigest()[:16]
    assert path(tmp_path, kafka_bootstrap="broker:9092", namespace="ns", tenant="acme").stem == expected
    assert path(tmp_path, kafka_bootstrap="broker:9092", namespace="ns", tenant="acme", api_key="k").stem == expected


def test_every_destination_has_its_own_file(tmp_path: Path) -> None:
    destinations: list[dict[str, object]] = [
        {}, {"base_url": "http://x:1"}, {"base_url": "http://x:1", "api_key": "a"}, {"base_url": "http://x:1", "api_key": "b"},
        {"namespace": "other"}, {"kafka_bootstrap": "x:1"}, {"kafka_bootstrap": "x:1", "tenant": "other"},
    ]  # fmt: skip
    assert len({path(tmp_path, **arguments) for arguments in destinations}) == len(destinations)


def test_what_was_published_before_up_made_its_key_has_the_same_destination(tmp_path: Path) -> None:
    before = path(tmp_path)
    (tmp_path / "api_key").write_text("am_live_made_by_up")
    assert path(tmp_path) == before


def test_the_folder_can_be_chosen(tmp_path: Path) -> None:
    assert path(tmp_path, outbox_dir=tmp_path / "volume").parent == tmp_path / "volume"


def test_all_outboxes_of_a_folder_are_listed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.sqlite3", "b.sqlite3", "a.sqlite3-wal", "a.relay", "a.sqlite3.open", "b.sqlite3.damaged-2026"):
        (tmp_path / name).touch()
    assert [file.name for file in outbox_files(tmp_path)] == ["a.sqlite3", "b.sqlite3"]
    assert outbox_files(tmp_path / "absent") == []
