"""Placement's HTTP API, served from the ledger that the logs of the cells add up to."""
