"""`crewmem size`: what a fleet needs, from measured rates."""
