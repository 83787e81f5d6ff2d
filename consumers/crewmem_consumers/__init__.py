"""What it means: events are decoded, selected, redacted, summarised, embedded and written; replay; dead letters."""
