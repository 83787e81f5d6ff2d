"""The store that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crewmem_producers.errors import missing_extra
from crewmem_producers.settings import StoreSettings

from crewmem_store.store import Store

if TYPE_CHECKING:
    from crewmem_store.files import Files


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


def open_files(settings: StoreSettings, uri: str) -> Files:
    """The files of a backup in a folder or under an S3 prefix, reached as the store is. Raises MissingExtra without pyarrow."""
    try:
        from crewmem_store.files import Files
    except ModuleNotFoundError as error:
        raise missing_extra("recall", error.name or "pyarrow") from error
    return Files(uri, storage_options=storage_options(settings, uri=uri), what="the backup")


def storage_options(settings: StoreSettings, *, uri: str | None = None) -> dict[str, str]:
    """What LanceDB needs to reach object storage at `uri` (default: the store's); empty for a folder. Without keys the usual
    AWS sources are asked."""
    if not (uri or settings.store_uri).startswith("s3://"):
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
