"""Small texts that other parts of the agent keep in the store, each under a name: the newest of each name counts."""

import sqlite3

_FACT = "kept."


def read_kept(database: sqlite3.Connection) -> dict[str, str]:
    """Everything that is kept, by name."""
    found = database.execute(f"SELECT name, value FROM facts WHERE name GLOB '{_FACT}*'")
    return {name.removeprefix(_FACT): value for name, value in found if isinstance(value, str)}


def write_kept(database: sqlite3.Connection, name: str, text: str) -> None:
    """Keep ``text`` instead of what was kept under ``name``; part of the transaction under way."""
    database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (f"{_FACT}{name}", text))
