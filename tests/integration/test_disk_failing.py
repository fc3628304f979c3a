"""Whole agents on a file system that fails under them: read-only after an error, or a device with I/O errors that end.

Both are the kernel's own: ext4 on a loop device. On an error ext4 goes read-only under every open file, as it does on a
worn memory card; it comes back with the next mount. A device whose backing file finds no room answers EIO for a while.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.client import AgentRefusedError, Client
from edge_agent.config import load_api_address
from tests.integration.agents import AgentProcess, attempt, edge_agent, free_port, running, udp_link, write_pair
from tests.integration.test_disk_trouble import check_kept, send_sos

DISK_BYTES = 64 << 20
BACKING_BYTES = 24 << 20
PAYLOAD_BYTES = 30_000
MENDED_S = 30.0

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(180)]


@dataclass(slots=True)
class Card:
    """A memory card: an image, the loop device on it, and where it is mounted."""

    image: Path
    folder: Path
    options: str
    device: str = ""

    def mount(self) -> None:
        self.device = _done("losetup", "-f", "--show", str(self.image)).strip()
        _done("mount", "-o", self.options, self.device, str(self.folder))

    def unmount(self) -> None:
        _done("umount", str(self.folder))
        _done("losetup", "-d", self.device)

    def fail(self) -> None:
        """What the file system does when it finds itself damaged."""
        Path(f"/sys/fs/ext4/{Path(self.device).name}/trigger_fs_error").write_text("1")


def _done(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


@contextmanager
def inserted(image: Path, folder: Path, options: str, *features: str) -> Iterator[Card]:
    """A new card with a file system, mounted."""
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    _done("mkfs.ext4", "-q", "-F", *features, str(image))
    card = Card(image, folder, options)
    card.mount()
    try:
        yield card
    finally:
        card.unmount()


def write_kit(folder: Path) -> AgentProcess:
    config, _ = write_pair(
        folder, kit_links=udp_link("a", "remote", f"127.0.0.1:{free_port()}"), command_links="", kit_extra=""
    )
    return AgentProcess(config)


async def refusal(client: Client) -> AgentRefusedError:
    with pytest.raises(AgentRefusedError) as refused:
        await client.send(b"x", flow="text", precedence="routine", origin="person")
    return refused.value


async def test_a_disk_that_goes_read_only_is_said_and_what_was_accepted_is_there_after_the_next_mount(
    tmp_path: Path, require: Callable[[str], Path]
) -> None:
    require("root")
    require("mkfs.ext4")
    with inserted(tmp_path / "card.img", tmp_path / "var", "errors=remount-ro") as card:
        kit = write_kit(tmp_path)
        with running(kit):
            async with Client(load_api_address(kit.config)) as client:
                taken = [await send_sos(client) for _ in range(5)]
                card.fail()
                refused = await refusal(client)
                assert refused.reason == "store_failed", refused
                assert "ead-only" in str(refused)
                with pytest.raises(AgentRefusedError):
                    await send_sos(client)
                assert "ead-only" in (await client.status())["store"]["failure"]
                await check_kept(client, taken)
            said = edge_agent("status", "--config", kit.config)
            assert "THE DISK TAKES NOTHING" in said
            assert "硬盘写不进去" in _in_chinese("status", "--config", kit.config)
            assert kit.is_running
            assert sum(line["event"] == "store_failed" for line in kit.log) <= 1
            kit.kill()
            card.unmount()
            card.mount()
            kit.start()
            async with Client(load_api_address(kit.config)) as client:
                await check_kept(client, taken)
                await send_sos(client)
                assert json.loads(edge_agent("status", "--config", kit.config, "--json"))["store"]["failure"] == ""


def _in_chinese(*arguments: object) -> str:
    done = attempt(*arguments, prefix=("env", "LC_ALL=zh_CN.UTF-8"))
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


async def test_i_o_errors_refuse_what_they_hit_and_work_goes_on_when_they_end(
    tmp_path: Path, require: Callable[[str], Path]
) -> None:
    """The device's own disk is full for a while: the file system believes it has room, and its writes fail."""
    require("root")
    require("mkfs.ext4")
    backing = tmp_path / "backing"
    backing.mkdir()
    _done("mount", "-t", "tmpfs", "-o", f"size={BACKING_BYTES}", "tmpfs", str(backing))
    try:
        with inserted(backing / "card.img", tmp_path / "var", "errors=continue", "-O", "^has_journal"):
            kit = write_kit(tmp_path)
            with running(kit):
                async with Client(load_api_address(kit.config)) as client:
                    taken = [await send_sos(client) for _ in range(5)]
                    stranger = backing / "stranger"
                    _take_all(stranger)
                    refused: AgentRefusedError | None = None
                    for _ in range(2 * DISK_BYTES // PAYLOAD_BYTES):
                        try:
                            state = await client.send(bytes(PAYLOAD_BYTES), flow="picture", precedence="routine")
                            taken.append(state.bundle)
                        except AgentRefusedError as error:
                            refused = error
                            break
                    assert refused is not None
                    assert refused.reason == "store_failed", refused
                    stranger.unlink()
                    taken.append(await _send_once_mended(client))
                    kit.wait_for("store_trusted_again", MENDED_S)
                    await check_kept(client, taken)
                kit.kill()
                kit.start()
                async with Client(load_api_address(kit.config)) as client:
                    await check_kept(client, taken)
    finally:
        _done("umount", "-l", str(backing))


def _take_all(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return


async def _send_once_mended(client: Client) -> str:
    """An SOS, pressed again while it is refused."""
    for _ in range(20):
        try:
            return await send_sos(client)
        except AgentRefusedError as error:
            last = error
    raise last
