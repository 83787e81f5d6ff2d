#!/bin/sh
# Remember and recall with curl. The key is CREWMEM_API_KEY, else the one that `crewmem up` made on this machine.
set -eu
BASE_URL="${CREWMEM_BASE_URL:-http://127.0.0.1:8765}"
KEY="${CREWMEM_API_KEY:-$(cat "${CREWMEM_HOME:-$HOME/.crewmem}/api_key")}"

curl -sS -f -X POST "$BASE_URL/v1/memory/remember" \
  -H "Authorization: Bearer $KEY" \
  -H "Content-Type: application/json" \
  -d '{"content": "Competitor analysis is done: Acme Corp publishes no API docs", "session": "project_alpha"}'
echo
curl -sS -f "$BASE_URL/v1/memory/recall?q=competitor+analysis&session=project_alpha" \
  -H "Authorization: Bearer $KEY"
echo
