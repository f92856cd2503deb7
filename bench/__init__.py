"""Benchmarks: each is a module of its own with a main function; ``python -m bench`` runs them one after the other."""

from rpc_api import concurrency

concurrency.setup()
