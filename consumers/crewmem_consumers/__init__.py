"""What it means: events are decoded, selected, redacted, summarised, embedded and written; replay; dead letters."""

from crewmem_producers.compat import require_server_python

require_server_python("crewmem's consumer")
