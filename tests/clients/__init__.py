"""Clients that users of Placement have, each in an environment of its own, beside our API over real connections."""
