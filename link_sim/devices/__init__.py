"""Device stand-ins: what answers on a serial port when the real device is not there.

Each is written from published facts, speaks as the device does, its faults included, and is kept apart from
``drivers``: the two share no line, so that one can find what the other got wrong. A stand-in knows no clock and no
port (``StandIn.feed``); ``pty_bench.PtyBench`` puts any number of them on pseudo-terminals.

    network = MessageNetwork(LinkProfile(delay_s=3.8), seed=7)
    kit, command = BeidouTerminal(card="0200001", network=network), BeidouTerminal(card="0200002", network=network)
    async with PtyBench({"kit": kit, "command": command}) as bench:
        open_serial(bench.path("kit"))
"""
