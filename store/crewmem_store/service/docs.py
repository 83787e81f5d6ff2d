"""The OpenAPI document: FastAPI's own, without the 422 that this service never answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI


def without_422(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """What `app.openapi` is replaced by."""
    document = app.openapi

    def openapi() -> dict[str, Any]:
        found = document()
        for calls in found["paths"].values():
            for call in calls.values():
                call["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            found.get("components", {}).get("schemas", {}).pop(unused, None)
        return found

    return openapi
