"""Virtual time for ordinary asyncio code: a loop whose clock jumps, and the nodes, ports and streams inside it."""
