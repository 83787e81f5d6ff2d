"""What is remembered: the store, its ledger, embedders, search and generations."""
