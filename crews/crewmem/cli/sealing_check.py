"""What `crewmem doctor` checks of sealing: whether it is on, and whether what was sealed opens here."""

from __future__ import annotations

from collections import Counter

from crewmem_producers import data_keys
from crewmem_producers.connect import master_keys, public_half
from crewmem_producers.errors import CrewmemError
from crewmem_producers.registry import Registry
from crewmem_producers.settings import KafkaSettings

from crewmem.cli.checks import Finding, State, failed
from crewmem.cli.console import counted

_PLAIN = "set CREWMEM_MASTER_KEY (`crewmem keys master` makes one): erasing a session cannot take plain text from the log"


def sealing(settings: KafkaSettings, registry: Registry) -> Finding:
    """Over the registry's view as it is."""
    values = [value for value in registry.items(data_keys.PREFIX).values() if not data_keys.is_erased(value)]
    wrapped = Counter(str(value.get("master")) for value in values)
    try:
        held = master_keys(settings)()
        public = public_half(settings)
    except CrewmemError as error:
        return failed("sealing", error)
    known = held.fingerprints if held else ()
    missing = {fingerprint: count for fingerprint, count in wrapped.items() if fingerprint not in known}
    if held is not None and missing:
        said = ", ".join(f"{count} data keys open with {fingerprint}" for fingerprint, count in missing.items())
        return Finding("sealing", State.FAIL, f"{said}, which is not held here", "add that key to CREWMEM_MASTER_KEY")
    if public is None:
        if values:
            remedy = "set CREWMEM_MASTER_KEY to the key that the others have: what is written here is not sealed"
            return Finding("sealing", State.WARN, f"off here, and {len(values)} data keys are in the registry", remedy)
        return Finding("sealing", State.WARN, "off: events lie on the log as they are", _PLAIN)
    if registry.get(data_keys.RETIRED + public().fingerprint) is not None:
        return Finding("sealing", State.FAIL, "the master key that is sealed for here was retired", "set the new one")
    said = f"on; {counted(len(values), 'data key')}" + (", all open here" if held else "; nothing can be opened here")
    return Finding("sealing", State.OK, said)
