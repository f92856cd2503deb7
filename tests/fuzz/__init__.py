"""Hostile bytes for everything that reads: nothing raises but what its API says, hangs, grows or changes the state.

``corpus`` has real events, ``mutation`` damages them, ``targets`` feeds them to what reads and says what must hold,
``harness`` counts and measures. ``coverage`` is the same under libFuzzer, guided by the branches taken (``make fuzz``).
"""
