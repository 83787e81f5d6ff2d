"""Accounting: every position of the log has exactly one outcome in each generation, and the store holds what it says.

`account` proves it by numbers, at any time and in moments; `verify` walks log, ledger and store and names what does not fit.
"""

from crewmem_store.accounting.misfits import Kind, Misfit, Verified
from crewmem_store.accounting.numbers import Account, PartitionAccount, account
from crewmem_store.accounting.verify import Step, verify

__all__ = ["Account", "Kind", "Misfit", "PartitionAccount", "Step", "Verified", "account", "verify"]
