"""The trace that a kickoff or a call belongs to, where the project uses OpenTelemetry (CrewAI brings its API along)."""

from __future__ import annotations

import sys


def traceparent() -> str | None:
    """The W3C trace context of the span that runs now; None outside of any."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:  # who has not imported it has started no span
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
