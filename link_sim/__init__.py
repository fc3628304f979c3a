"""Links for tests: rate, delay, loss, queues and outages, without privilege, the same every run.

Core nodes in virtual time, here a satellite link with a tunnel of eight seconds:

    world = World(seed=7)
    world.add_node(NodeSettings(node_id="command", role="command"))
    world.add_node(NodeSettings(node_id="kit-1"))
    world.connect("vsat", "kit-1", "command", profile("vsat"))
    world.at(10, lambda: world.cut("vsat", outage=Outage.HOLD))
    world.at(18, lambda: world.restore("vsat"))
    text = BundleHeader(destination="command", flow="text")
    world.at(12, lambda: world.submit("kit-1", text, Precedence.FLASH, b"water rises"))
    world.run_until(30)
    assert 18.3 < world.deliveries[0].t_s < 19

Real programs in real time: ``UdpProxy`` and ``PtyProxy`` here, ``link-sim proxy`` from a shell.
"""
