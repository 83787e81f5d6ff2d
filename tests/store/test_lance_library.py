"""LanceDB without the validators of its REST client: others that use pydantic notice nothing."""

from __future__ import annotations

from support import programs


def test_the_import_leaves_pydantic_as_it_was_and_the_rest_client_without_validators() -> None:
    ended = programs.run(
        """
        import pydantic
        before = pydantic.validate_call
        from crewmem_store.lance_library import lancedb
        from lance_namespace_urllib3_client.api import table_api
        assert pydantic.validate_call is before
        assert not hasattr(table_api.TableApi.count_table_rows, "raw_function"), "its validators were compiled"

        @pydantic.validate_call
        def own(number: int) -> int:
            return number

        assert own("3") == 3
        lancedb.connect
        """
    )
    assert ended.returncode == 0, ended.stderr
