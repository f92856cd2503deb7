"""Whole clouds in one command: all services wired together (all-in-one),
and recorded requests fed through them (play)."""
