"""The limits of everything that comes in: one table for every door.

The service's calls, the outbox, the clients and the consumers' decoder all read these. A limit is checked before any work on
the value: length before normalising, size before parsing, the number of marks before waiting. Text is counted in characters
(code points), everything else in what its name says.
"""

from __future__ import annotations

# Names
TENANT_CHARACTERS = 40
SESSION_CHARACTERS = 200
"""Of a session's name as it is kept."""
GIVEN_SESSION_CHARACTERS = 1_000
"""Of a session's name as it is given, before normalising shortens it."""
MARKS_IN_A_RUN = 30
"""Combining marks that follow one another, as in Unicode's stream-safe text (UAX #15): normalising sorts a run, in a time that
grows with the square of its length. A session's name with more is refused; of other text the first so many are searched."""
WORD_CHARACTERS = 100
"""Of a word that is searched: stemming takes a time that grows with the square of its length. Its rest is not searched."""
NAME_CHARACTERS = 200
"""Of `key`, `parent`, `speaker`, `execution_id` and the like."""
LABEL_CHARACTERS = 1_000
"""Of a role, a crew, a task's name or key: CrewAI fills them from templates, and a client cuts them to this."""
KIND_PATTERN = r"^[a-z][a-z0-9_-]{0,39}$"
KIND_CHARACTERS = 40
EVENT_ID_CHARACTERS = 100
MEMORY_ID_CHARACTERS = 200
"""Of an id in the path of a call: a memory's or an event's."""
SPAN_CHARACTERS = 200
SOURCE_CHARACTERS = 200
TIME_CHARACTERS = 64

# What is remembered
CONTENT_CHARACTERS = 10_000
METADATA_BYTES = 65_536
"""Of metadata as JSON in UTF-8."""
METADATA_LEVELS = 32
TTL_SECONDS = 100 * 365 * 86_400

# A kickoff. A client cuts one that is over these and marks it `truncated`; it never refuses it.
TASKS = 1_000
"""Of one event: a kickoff with more becomes an event per task."""
RECALLED = 500
"""Memories that are named as recalled into a kickoff."""
RECALLED_CHARACTERS = 10_000
"""Of the text of one of them."""
INPUTS_BYTES = 1_000_000
"""Of the published inputs as JSON."""
TOKEN_USAGE_BYTES = 65_536
ERROR_CHARACTERS = 10_000
"""Of what made a kickoff fail."""

# Records of the log, and events on their way there
SPLIT_BYTES = 900_000
"""A kickoff over this becomes one event per task output. Of the body as JSON, before compression, as are the next two."""
CUT_BYTES = 10_000_000
"""A client cuts a kickoff's event to this, and refuses any other event over it."""
BODY_BYTES = 12_582_912
"""A body that is larger is refused, unpacked or not: what clients publish stays below CUT_BYTES."""
BODY_LEVELS = 100
"""Of nesting in a body: walking through a deeper one would exhaust the stack."""
RECORD_BYTES = 12_582_912
"""Of a record with its key and headers, as it lies on the log. `topics create` sets max.message.bytes to it."""
RECORD_HEADERS = 64
RECORD_HEADER_BYTES = 65_536
"""Of all headers of a record, names and values."""
HEADER_CHARACTERS = 200
"""Of the value of a CloudEvents header that is read."""
FORGOTTEN_SPANS = 10_000
"""Of one `memory.forgotten`."""
RULES_CHARACTERS = 262_144
"""Of a rule file."""

# Calls of the service
QUERY_CHARACTERS = 100_000
QUERY_TERMS = 256
"""Different words of a question that are searched: its first."""
TOP_K = 100
PAGE = 100
"""Memories on a page of a list."""
PAGE_OFFSET = 1_000_000_000
SESSIONS = 100
"""Sessions that one call may name."""
CONTEXT_TOKENS = 100_000
WAIT_SECONDS = 30.0
TOKEN_MARKS = 100
"""Partitions and events that one freshness token may wait for."""
TOKEN_CHARACTERS = 12_800
"""Of a freshness token: TOKEN_MARKS event ids, each with its partition."""
BATCH_EVENTS = 500
BATCH_BYTES = 16 * 1024 * 1024
"""Of the body of `POST /v1/events`."""
REQUEST_BYTES = 1024 * 1024
"""Of the body of every other call."""
HTTP_HEADER_BYTES = 65_536
"""Of a call's request line and headers."""
