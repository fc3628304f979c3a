"""Judging the core: random worlds, faults, and what must hold after every step."""
