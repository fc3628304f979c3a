"""Whole agents on a disk in trouble, full or read-only: what was accepted stays, an SOS is taken, it is said why."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.client import AgentRefusedError, Client
from edge_agent.config import load_api_address
from tests.integration.agents import AgentProcess, attempt, free_port, running, udp_link, write_pair

DISK_BYTES = 64 << 20
QUOTA_BYTES = 200 << 20  # above what the disk has: the disk is the limit here
PICTURE_BYTES = 60_000
STRANGER_BYTES = 28 << 20
ROOM_MAX_S = 20.0  # the agent looks every 5 s

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]


@pytest.fixture(name="kit")
def fixture_kit(tmp_path: Path, require: Callable[[str], Path]) -> Iterator[AgentProcess]:
    """A kit whose data lies on a file system of 64 MiB, with a link to nobody."""
    require("root")
    (tmp_path / "var").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(tmp_path / "var")], check=True)
    config, _ = write_pair(
        tmp_path,
        kit_links=udp_link("a", "remote", f"127.0.0.1:{free_port()}"),
        command_links="",
        kit_extra=f"[store]\nquota_bytes = {QUOTA_BYTES}",
    )
    try:
        yield AgentProcess(config)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "var")], check=True)


async def send_until_refused(client: Client) -> tuple[list[str], AgentRefusedError]:
    taken: list[str] = []
    for number in range(DISK_BYTES // PICTURE_BYTES + 1):
        try:
            state = await client.send(number.to_bytes(4) * (PICTURE_BYTES // 4), flow="picture", precedence="routine")
        except AgentRefusedError as error:
            return taken, error
        taken.append(state.bundle)
    raise AssertionError("the disk was never full")


def fill(path: Path) -> None:
    """Take every byte that is left."""
    with path.open("ab", buffering=0) as file:
        for step in (1 << 20, 4_096, 1):
            try:
                while True:
                    file.write(bytes(step))
            except OSError:
                continue


async def send_sos(client: Client) -> str:
    return (await client.send(b"help", flow="sos", precedence="flash", origin="person")).bundle


async def check_kept(client: Client, bundles: list[str]) -> None:
    for bundle in bundles:
        assert (await client.state(bundle)).state == "accepted", bundle


async def test_a_full_disk_refuses_pictures_takes_an_sos_and_survives_a_kill(kit: AgentProcess) -> None:
    folder = kit.config.parent / "var"
    (folder / "first-stranger").write_bytes(bytes(STRANGER_BYTES))
    with running(kit):
        async with Client(load_api_address(kit.config)) as client:
            taken, refusal = await send_until_refused(client)
            assert refusal.reason == "store_full"
            assert "bytes" in str(refusal)
            assert len(taken) * PICTURE_BYTES > DISK_BYTES / 8
            fill(folder / "stranger")
            taken += [await send_sos(client) for _ in range(20)]
            with pytest.raises(AgentRefusedError) as again:
                await client.send(bytes(PICTURE_BYTES), flow="picture", precedence="routine")
            assert again.value.reason == "store_full"
        kit.kill()
        kit.start()  # on the full disk
        async with Client(load_api_address(kit.config)) as client:
            taken += [await send_sos(client) for _ in range(20)]
            await check_kept(client, taken)
        assert len(set(taken)) == len(taken)
        (folder / "first-stranger").unlink()
        (folder / "stranger").unlink()
        async with Client(load_api_address(kit.config)) as client:
            await send_sos(client)  # any commit looks at the disk again
            kit.wait_for("store_disk_has_room", ROOM_MAX_S)


async def test_a_disk_that_is_read_only_is_said_at_the_start_and_nothing_is_lost(kit: AgentProcess) -> None:
    folder = kit.config.parent / "var"
    with running(kit):
        async with Client(load_api_address(kit.config)) as client:
            taken = [await send_sos(client) for _ in range(5)]
        kit.kill()
        remount(folder, "ro")
        refused = attempt("run", kit.config, "--log", "json", timeout_s=30)
        assert refused.returncode != 0
        said = refused.stderr.decode()
        assert str(folder) in said, said
        assert "ead-only" in said or "readonly" in said, said
        assert "Traceback" not in said
        remount(folder, "rw")
        kit.start()
        async with Client(load_api_address(kit.config)) as client:
            await check_kept(client, taken)
            await send_sos(client)


def remount(folder: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)
