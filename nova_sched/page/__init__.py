"""A page to look at in a browser: the hosts of a cloud, its decisions as they happen, and its past.

Read-only. Everything comes from the logs, through the functions that the replay tool uses.
"""
