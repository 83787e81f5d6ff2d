import logging
import sqlite3
import threading
from pathlib import Path

import pytest
from crewmem_producers.errors import InvalidEvent, OutboxBroken, OutboxFull
from crewmem_producers.outbox import Outbox
from crewmem_producers.outbox_rows import Waiting
from crewmem_producers.transport import Delivered, Refused
from support import programs
from support.events import contents, kickoff, remembered


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox" / "x.sqlite3"


@pytest.fixture
def outbox(path: Path) -> Outbox:
    return Outbox(path, max_bytes=10_000_000, clock=lambda: 1000.0)


def waiting(outbox: Outbox) -> list[Waiting]:
    return outbox.batch(max_events=500, max_bytes=10_000_000)


def texts(outbox: Outbox) -> list[str]:
    return contents([row.event(tenant="default") for row in waiting(outbox)])


def test_nothing_is_opened_before_the_first_use(outbox: Outbox, path: Path) -> None:
    assert not path.parent.exists()


def test_what_was_appended_waits_in_order_for_whoever_opens_the_file(outbox: Outbox, path: Path) -> None:
    outbox.append([remembered("a"), remembered("b")])
    outbox.append([remembered("c")])
    assert texts(Outbox(path, max_bytes=10_000_000)) == ["a", "b", "c"]


def test_a_process_that_leaves_takes_nothing_from_one_that_has_the_file_open_twice(outbox: Outbox, path: Path) -> None:
    """As a publisher and its relay have it. Were the locks of the first connection gone, the other process would be the last
    one as far as it can see, and would remove the write-ahead log that this process goes on writing to."""
    relay = Outbox(path, max_bytes=10_000_000)
    looks = f"""
        from pathlib import Path
        from crewmem_producers.outbox import Outbox
        outbox = Outbox(Path({str(path)!r}), max_bytes=10_000_000)
        print(outbox.status().depth)
        outbox.close()
    """
    outbox.append([remembered("a")])
    assert texts(relay) == ["a"]
    assert programs.run(looks).stdout == "1\n"
    outbox.append([remembered("b")])
    assert texts(relay) == ["a", "b"]
    assert programs.run(looks).stdout == "2\n"


def test_an_event_comes_out_as_it_went_in(outbox: Outbox) -> None:
    event = remembered("Ünïcode \U0001f600 \x00 \u2028")
    outbox.append([event])
    back = waiting(outbox)[0].event(tenant="default")
    assert (back.id, back.time, back.scope, back.source) == (event.id, event.time, event.scope, event.source)
    assert contents([back]) == contents([event])


def test_a_batch_is_bounded_by_events_and_by_bytes_and_never_empty(outbox: Outbox) -> None:
    outbox.append([remembered("x" * 1000) for _ in range(5)])
    assert len(outbox.batch(max_events=3, max_bytes=10_000_000)) == 3
    assert len(outbox.batch(max_events=500, max_bytes=2600)) == 2
    assert len(outbox.batch(max_events=500, max_bytes=1)) == 1


def test_delivered_rows_are_gone_and_their_tokens_can_be_read_by_another_process(outbox: Outbox, path: Path) -> None:
    seqs = outbox.append([remembered("a"), remembered("b")])
    outbox.settle([(waiting(outbox)[0], Delivered("1.0.7"))])
    assert texts(outbox) == ["b"]
    assert Outbox(path, max_bytes=1).fates(seqs) == {seqs[0]: Delivered("1.0.7")}
    assert outbox.waits(seqs[1]) and not outbox.waits(seqs[0])
    assert outbox.delivered() == 1


def test_refused_events_become_dead_letters_and_can_be_sent_once_more(outbox: Outbox) -> None:
    event = remembered("a")
    seqs = outbox.append([event, remembered("b")])
    outbox.settle([(waiting(outbox)[0], Refused("no thanks"))])
    assert texts(outbox) == ["b"]
    assert outbox.fates(seqs) == {seqs[0]: Refused("no thanks")}
    assert [(letter.id, letter.reason) for letter in outbox.dead_letters()] == [(event.id, "no thanks")]
    assert outbox.retry_dead_letters() == 1
    assert texts(outbox) == ["b", "a"]
    assert outbox.dead_letters() == []


def test_settling_a_row_twice_changes_nothing(outbox: Outbox) -> None:
    outbox.append([remembered("a")])
    row = waiting(outbox)[0]
    outbox.settle([(row, Delivered("1.0.7"))])
    outbox.settle([(row, Delivered("1.0.9")), (row, Refused("late"))])
    assert outbox.fates([row.seq]) == {row.seq: Delivered("1.0.7")}
    assert outbox.status().delivered == 1 and outbox.status().dead_letters == 0


def test_the_status_says_what_waits_and_since_when(path: Path) -> None:
    now = [1000.0]
    outbox = Outbox(path, max_bytes=10_000_000, clock=lambda: now[0])
    outbox.append([remembered("a")])
    now[0] = 1060.0
    outbox.append([remembered("b")])
    outbox.note_error("the service is away")
    status = outbox.status()
    assert (status.path, status.depth, status.oldest_seconds, status.error) == (path, 2, 60.0, "the service is away")
    assert 0 < status.bytes < 1_000_000
    outbox.settle([(row, Delivered("1.0.0")) for row in waiting(outbox)])
    status = outbox.status()
    assert (status.depth, status.oldest_seconds, status.error, status.delivered) == (0, None, None, 2)


def test_a_full_outbox_refuses_counts_and_deletes_nothing(path: Path) -> None:
    outbox = Outbox(path, max_bytes=200_000)
    with pytest.raises(OutboxFull, match="CREWMEM_OUTBOX_MAX_MB"):
        for number in range(1000):
            outbox.append([remembered(f"{number} {random_text(number)}")])
    held = texts(outbox)
    assert len(held) > 10 and [text.split()[0] for text in held] == [str(number) for number in range(len(held))]
    assert outbox.status().times_full == 1
    assert outbox.status().bytes <= 200_000


def random_text(seed: int) -> str:
    import random

    return random.Random(seed).randbytes(2000).hex()


def test_a_full_outbox_takes_events_again_once_it_has_drained(path: Path) -> None:
    outbox = Outbox(path, max_bytes=200_000)
    with pytest.raises(OutboxFull):
        for number in range(1000):
            outbox.append([remembered(random_text(number))])
    outbox.settle([(row, Delivered("1.0.0")) for row in waiting(outbox)])
    outbox.tidy()
    outbox.append([remembered("room again")])
    assert path.stat().st_size < 200_000


def test_all_events_of_a_publish_are_kept_or_none(path: Path) -> None:
    outbox = Outbox(path, max_bytes=200_000)
    with pytest.raises(OutboxFull):
        outbox.append([remembered(random_text(number)) for number in range(200)])
    assert outbox.status().depth == 0


def test_what_was_delivered_is_gone_from_the_disk(outbox: Outbox, path: Path) -> None:
    event = remembered("x")
    outbox.append([event])
    assert any(event.id.encode() in file.read_bytes() for file in path.parent.iterdir())
    outbox.settle([(waiting(outbox)[0], Delivered("1.0.0"))])
    outbox.tidy()
    assert not any(event.id.encode() in file.read_bytes() for file in path.parent.iterdir())


def test_only_the_owner_can_read_the_file(outbox: Outbox, path: Path) -> None:
    outbox.append([remembered("a")])
    assert {file.stat().st_mode & 0o077 for file in path.parent.glob("x.sqlite3*") if not file.name.endswith(".open")} == {0}
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_full_disk_is_told_with_its_remedy(outbox: Outbox) -> None:
    outbox.append([remembered("a")])
    outbox._file.query(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
    with pytest.raises(OutboxBroken, match=r"the disk is full: free some of it, or set CREWMEM_OUTBOX_DIR") as caught:
        outbox.append([kickoff("".join(random_text(number) for number in range(20)))])
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert texts(outbox) == ["a"]


def test_a_folder_that_cannot_be_made_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutboxBroken, match="CREWMEM_OUTBOX_DIR") as caught:
        Outbox(tmp_path / "file" / "outbox" / "x.sqlite3", max_bytes=1000).append([remembered("a")])
    assert isinstance(caught.value.__cause__, OSError)


def test_a_file_of_a_newer_layout_is_refused_and_left_as_it_is(outbox: Outbox, path: Path) -> None:
    outbox.append([remembered("a")])
    outbox._file.query(lambda connection: connection.execute("PRAGMA user_version = 99"))
    outbox.close()
    for _ in range(2):
        with pytest.raises(OutboxBroken, match="newer crewmem"):
            outbox.append([remembered("b")])
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_a_file_that_is_no_database_is_set_aside_loudly(outbox: Outbox, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else entirely " * 1000)
    outbox.append([remembered("a")])
    assert texts(outbox) == ["a"]
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == b"something else entirely " * 1000
    assert [record.levelno for record in caplog.records] == [logging.ERROR] and str(aside) in caplog.text


def test_a_file_that_is_damaged_while_in_use_is_set_aside_with_its_bytes(outbox: Outbox, path: Path) -> None:
    for number in range(50):
        outbox.append([remembered(random_text(number))])
    outbox.close()
    damaged = bytearray(path.read_bytes())
    damaged[4096 : len(damaged) // 2] = b"\xee" * (len(damaged) // 2 - 4096)
    path.write_bytes(damaged)
    outbox.append([remembered("after")])
    assert "after" in texts(outbox)
    (aside,) = path.parent.glob("*.sqlite3.damaged-*")
    assert aside.read_bytes() == bytes(damaged)


def test_a_row_that_cannot_be_read_is_told_as_no_event(outbox: Outbox) -> None:
    outbox.append([remembered("a")])
    outbox._file.run(lambda connection: connection.execute("UPDATE events SET body = x'00'"))
    with pytest.raises(InvalidEvent):
        waiting(outbox)[0].event(tenant="default")


def test_a_file_that_is_removed_while_in_use_is_begun_anew(
    outbox: Outbox, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox.append([remembered("lost with its file")])
    for file in path.parent.iterdir():
        file.unlink()
    outbox.append([remembered("kept")])
    assert texts(Outbox(path, max_bytes=10_000_000)) == ["kept"]
    assert "was removed or replaced" in caplog.text


def test_many_threads_and_connections_append_side_by_side(path: Path) -> None:
    outboxes = [Outbox(path, max_bytes=10_000_000) for _ in range(3)]

    def append(outbox: Outbox, name: str) -> None:
        for number in range(20):
            outbox.append([remembered(f"{name}-{number}")])

    threads = [threading.Thread(target=append, args=(outboxes[i % 3], f"t{i}")) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = texts(outboxes[0])
    assert len(held) == 120
    for i in range(6):
        assert [text for text in held if text.startswith(f"t{i}-")] == [f"t{i}-{number}" for number in range(20)]
