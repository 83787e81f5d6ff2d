"""Which language model the environment names, for the demo and the examples. Importing this loads no CrewAI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

DISCLAIMER = "offline stand-in for a language model: it rearranges what its prompt holds and knows nothing else"
DEFAULT_MODEL = "gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model behind an OpenAI-compatible endpoint; without `base_url` OpenAI's own."""

    model: str
    api_key: str
    base_url: str | None = None


def named_model(environ: Mapping[str, str] = os.environ) -> NamedModel | None:
    """OPENAI_BASE_URL with OPENAI_MODEL_NAME (Ollama, vLLM, LM Studio), else OPENAI_API_KEY; None when neither is set."""
    key, base_url, model = (environ.get(name) for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL_NAME"))
    if base_url and model:
        return NamedModel(model, key or "none", base_url)
    return NamedModel(model or DEFAULT_MODEL, key) if key else None
