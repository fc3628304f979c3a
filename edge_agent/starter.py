"""First files of a new node: a commented configuration and the deployment's secret."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import edge_agent
from edge_agent.core.bundle import NODE_ID_PATTERN
from edge_agent.core.errors import EdgeAgentError
from edge_agent.security.secret_file import create_secret, load_secret

TEMPLATES = {"kit": "portable-kit.toml", "command": "command-post.toml"}
SECRET_NAME = "secret.key"


class StarterRefusedError(EdgeAgentError):
    """Nothing was written; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What was written."""

    config: Path
    secret: Path


def write_starter(folder: Path, *, role: str, node_id: str, secret: Path | None) -> Starter:
    """Write ``kit.toml`` or ``command.toml``, by role, and the secret; never over existing files.

    Raises StarterRefusedError, OSError.
    """
    made = Starter(config=folder / f"{role}.toml", secret=folder / SECRET_NAME)
    if node_id and not NODE_ID_PATTERN.fullmatch(node_id):
        raise StarterRefusedError(
            f"--id {node_id!r}: allowed: 1 to 32 of a-z 0-9 . _ - starting with a letter or digit"
        )
    for path in (made.config, made.secret):
        if path.exists():
            raise StarterRefusedError(f"{path} exists and is not overwritten; choose another DIR or remove it first")
    if secret is not None:
        load_secret(secret)  # refuses a wrong one before anything is written
    text = shipped_config(TEMPLATES[role]).read_text(encoding="utf-8")
    if node_id:
        text = re.sub(r'^(id\s*=\s*)"[^"]*"', rf'\g<1>"{node_id}"', text, count=1, flags=re.MULTILINE)
        text = re.sub(r'"(unix:)?var/[^/"]+', rf'"\g<1>var/{node_id}', text)
    folder.mkdir(parents=True, exist_ok=True)
    if secret is None:
        create_secret(made.secret)
    else:
        with open(os.open(made.secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            copy.write(secret.read_bytes())
    with made.config.open("x", encoding="utf-8") as file:
        file.write(text)
    return made


def shipped_config(name: str) -> Path:
    """A configuration that comes with the distribution, or of the checkout it runs from."""
    package = Path(edge_agent.__file__).parent
    installed = package / "_config" / name
    return installed if installed.exists() else package.parent / "config" / name
