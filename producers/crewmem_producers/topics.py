"""The names of the three topics of a namespace."""

from __future__ import annotations


def events_topic(namespace: str) -> str:
    return f"{namespace}.events.v1"


def dead_letter_topic(namespace: str) -> str:
    return f"{namespace}.events.v1.dlq"


def registry_topic(namespace: str) -> str:
    return f"{namespace}.registry.v1"
