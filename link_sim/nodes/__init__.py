"""Nodes of the agent's core in virtual time, each with its disk and its ends of links, and the ledger that counts."""
