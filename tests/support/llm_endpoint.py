"""An OpenAI-compatible model server that does what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response


@dataclass
class Endpoint:
    """`behave` gets the text and gives a summary or a whole response; while `hold` is not set, nothing is answered."""

    behave: Callable[[str], Any] = lambda text: f"Summary of {len(text)} characters."
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    hold: asyncio.Event | None = None

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Any:
            body = await request.json()
            self.bodies.append(body)
            self.keys.append(request.headers.get("authorization"))
            self.asked.append(body["messages"][-1]["content"])
            if self.hold is not None:
                await self.hold.wait()
            answer = self.behave(self.asked[-1])
            if isinstance(answer, Response):
                return answer
            return {"choices": [{"message": {"role": "assistant", "content": answer}}]}

        return app
