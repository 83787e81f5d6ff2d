"""What is remembered: the store, its ledger, embedders, search and generations."""

from crewmem_producers.compat import require_server_python

require_server_python("crewmem's store")
