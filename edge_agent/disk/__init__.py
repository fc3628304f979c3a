"""The store of one node: effects made durable by group commit in SQLite, large payloads in files, durable consumers."""
