"""The store that the settings name."""

from __future__ import annotations

from crewmem_producers.errors import missing_extra
from crewmem_producers.settings import StoreSettings

from crewmem_store.store import Store


def open_store(settings: StoreSettings) -> Store:
    """The store at `settings.store_uri`, opened and its note checked.

    Raises StoreUnavailable, NamespaceMismatch, LayoutTooNew; MissingExtra without LanceDB.
    """
    try:
        from crewmem_store.lance import LanceStore
    except ModuleNotFoundError as error:
        raise missing_extra("recall", error.name or "lancedb") from error
    store = LanceStore(settings.store_uri, storage_options=storage_options(settings))
    store.open(namespace=settings.namespace)
    return store


def storage_options(settings: StoreSettings) -> dict[str, str]:
    """What LanceDB needs to reach object storage; empty for a folder. Without keys the usual AWS sources are asked."""
    if not settings.store_uri.startswith("s3://"):
        return {}
    options = {"region": settings.s3_region}
    if settings.s3_endpoint:
        options |= {"endpoint": settings.s3_endpoint, "aws_virtual_hosted_style_request": "false"}
        if settings.s3_endpoint.startswith("http://"):
            options["allow_http"] = "true"
    if settings.s3_access_key:
        options["aws_access_key_id"] = settings.s3_access_key
    if settings.s3_secret_key:
        options["aws_secret_access_key"] = settings.s3_secret_key.get_secret_value()
    return options
