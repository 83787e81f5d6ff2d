from pathlib import Path

import pytest
from crewmem_producers.filesystem import filesystem_of, warning

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /tmp rw,nosuid shared:2 - tmpfs tmpfs rw
24 22 0:6 / /home rw,relatime - ext4 /dev/sdb1 rw
25 24 0:7 / /home/me/my\\040share rw - nfs4 server:/x rw
26 22 0:8 / /srv rw - ext4 /dev/sdc1 rw
27 22 0:9 / /srv rw - overlay overlay rw,lowerdir=/a
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmp/not/yet/there", "tmpfs"),
        ("/tmpfoo", "ext4"),
        ("/home/me", "ext4"),
        ("/home/me/my share/outbox", "nfs4"),
        ("/srv/x", "overlay"),
    ],
)
def test_the_innermost_and_last_mount_decides(mounts: Path, path: str, kind: str) -> None:
    assert filesystem_of(Path(path), mounts=mounts) == kind


def test_a_system_that_does_not_tell_is_not_warned_about(tmp_path: Path) -> None:
    assert warning(Path("/tmp"), mounts=tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("path", "word"), [("/tmp/outbox", "tmpfs"), ("/srv/outbox", "overlay"), ("/home/me/my share", "nfs4")]
)
def test_the_warning_names_the_kind_and_both_remedies(mounts: Path, path: str, word: str) -> None:
    sentence = warning(Path(path), mounts=mounts)
    assert sentence is not None
    assert word in sentence and "volume (CREWMEM_OUTBOX_DIR)" in sentence and "CREWMEM_DURABILITY=log" in sentence


def test_a_disk_is_not_warned_about(mounts: Path) -> None:
    assert warning(Path("/home/me/outbox"), mounts=mounts) is None
