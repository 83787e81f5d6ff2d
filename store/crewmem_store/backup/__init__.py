"""Backups of what cannot be computed again: log, dead letters and registry (keys of the API, data keys, erasures).

    manifest.json                         written last: what it does not name does not count
    events/<partition>/<offset>.seg       records from that offset on, JSON lines under zstd
    letters/<partition>/<offset>.seg      the same of the dead letters
    registry-<n>.json                     the registry as it was after the last record was read; only the newest is kept

A master key is never in it.
"""
