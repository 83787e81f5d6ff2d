"""The trace that a kickoff belongs to, where the project uses OpenTelemetry (CrewAI brings its API along)."""

from __future__ import annotations

from opentelemetry import trace


def traceparent() -> str | None:
    """The W3C trace context of the span that runs now; None outside of any."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
