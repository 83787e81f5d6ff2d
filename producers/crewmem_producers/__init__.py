"""What happened: events, the log and registry that keep them, and the way from a crew to the log."""
