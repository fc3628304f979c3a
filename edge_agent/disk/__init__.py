"""The store of one node: effects made durable by group commit in SQLite, large payloads in files, durable consumers."""

from edge_agent.disk.store import Disk

__all__ = ["Disk"]
