"""Simulated gas and water sensors that publish to a real MQTT broker."""

import asyncio
import json
import math
import time

import aiomqtt

INTERVAL_S = 2.0


async def publish_sensors(port: int, kit: str) -> None:
    """Publish two sensors of ``kit`` for ever; a broker that is away is tried again."""
    while True:
        try:
            async with aiomqtt.Client("127.0.0.1", port=port, identifier=f"sensors-{kit}") as client:
                while True:
                    now_s = time.time()
                    methane = 1.2 + 0.8 * math.sin(now_s / 40) + 0.1 * math.sin(now_s / 3)
                    level = 3.4 + 0.3 * math.sin(now_s / 90)
                    await client.publish(f"{kit}/gas", json.dumps({"ch4": round(methane, 2), "at": now_s}))
                    await client.publish(f"{kit}/water", json.dumps({"level": round(level, 3), "at": now_s}))
                    await asyncio.sleep(INTERVAL_S)
        except aiomqtt.MqttError:
            await asyncio.sleep(0.5)
