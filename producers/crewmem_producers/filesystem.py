"""What kind of file system a path lies on: an outbox on one that vanishes with the container keeps nothing."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
VOLATILE = frozenset({"tmpfs", "ramfs", "overlay", "aufs", "fuse-overlayfs"})
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs"})


def warning(folder: Path, *, mounts: Path = MOUNTS) -> str | None:
    """A sentence with the remedies when an outbox in `folder` would not be safe; None when it is, or nothing is known."""
    kind = filesystem_of(folder, mounts=mounts)
    if kind in VOLATILE:
        why = "what it holds is lost with the container or at a restart"
    elif kind in NETWORK:
        why = "SQLite's locks do not hold there"
    else:
        return None
    return (
        f"the outbox folder {folder} lies on {kind}: {why}. Put it on a volume (CREWMEM_OUTBOX_DIR), "
        "or set CREWMEM_DURABILITY=log to wait for the log at every publish"
    )


def filesystem_of(path: Path, *, mounts: Path = MOUNTS) -> str | None:
    """The type of the file system that `path` lies on, or would; None where the system does not tell."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    target = os.path.realpath(path)
    best, kind = "", None
    for line in lines:
        before, _, after = line.partition(" - ")
        mounted = before.split()[4].replace("\\040", " ")
        inside = target == mounted or target.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(best):  # the last of equal ones hides the others
            best, kind = mounted, after.split()[0]
    return kind
