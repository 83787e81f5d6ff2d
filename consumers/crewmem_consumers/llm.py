"""An OpenAI-compatible chat endpoint, as far as summaries need one."""

from __future__ import annotations

import httpx
from crewmem_producers.settings import ConsumerSettings
from pydantic import BaseModel, Field, ValidationError

from crewmem_consumers.errors import LlmRefused, LlmUnavailable

MAX_TOKENS = 250
NOT_THIS_TEXT = frozenset({400, 413, 422})
"""What an endpoint answers to a text that it will never take; every other refusal can be mended on its side."""


class _Message(BaseModel):
    content: str = Field(min_length=1)


class _Choice(BaseModel):
    message: _Message


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


class LlmClient:
    """One model of one endpoint. Close it when done."""

    def __init__(self, *, base_url: str, model: str, api_key: str | None, timeout_seconds: float) -> None:
        self.model = model
        self._http = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_seconds,
        )

    @classmethod
    def of(cls, settings: ConsumerSettings) -> LlmClient | None:
        """The endpoint that the settings name, or None when they name none."""
        if settings.llm_base_url is None:
            return None
        return cls(
            base_url=settings.llm_base_url,
            model=settings.llm_model or "default",
            api_key=settings.llm_api_key.get_secret_value() if settings.llm_api_key else None,
            timeout_seconds=settings.llm_timeout_seconds,
        )

    async def complete(self, *, system: str, user: str) -> str:
        """The model's answer. Raises LlmRefused for a text that it will not take, LlmUnavailable for all that may pass."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body = {"model": self.model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0}
        try:
            answer = await self._http.post("chat/completions", json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LlmUnavailable(f"{self._http.base_url} does not answer: {type(error).__name__} {error}".rstrip()) from error
        if answer.status_code in NOT_THIS_TEXT:
            raise LlmRefused(f"{self._http.base_url} answers {answer.status_code}: {answer.text[:300]}")
        if not answer.is_success:
            raise LlmUnavailable(f"{self._http.base_url} answers {answer.status_code}: {answer.text[:300]}")
        try:
            return _Completion.model_validate_json(answer.content).choices[0].message.content.strip()
        except ValidationError as error:
            raise LlmUnavailable(f"{self._http.base_url} answers no chat completion: {answer.text[:300]}") from error

    async def close(self) -> None:
        await self._http.aclose()
