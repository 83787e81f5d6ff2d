"""`crewmem demo`: the story of the README, told by a stack and crews that really run, and checked as it is told."""
