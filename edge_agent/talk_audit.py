"""``edge-agent audit verify``: whether the audit log of a node is as it was written. It reads files; no agent runs."""

import argparse

from edge_agent.audit import AUDIT_FILE
from edge_agent.cli import EXIT_DONE, EXIT_REFUSED, EXIT_USAGE
from edge_agent.config import load_config
from edge_agent.config_tables import ConfigError
from edge_agent.registry import installed_plugins
from edge_agent.security.audit import AuditError, Head, verify
from edge_agent.talk import complain, print_line


def audit_verify(options: argparse.Namespace) -> int:
    """Print ``{"node", "lines", "head"}``, or what does not hold."""
    try:
        config = load_config(options.config, installed_plugins())
        known = None if options.head is None else Head.parse(options.head)
    except (ConfigError, OSError) as error:
        complain(str(error))
        return EXIT_USAGE
    except ValueError as error:
        complain(f"--head {error}")
        return EXIT_USAGE
    try:
        head = verify(config.data_dir / AUDIT_FILE, config.node_id, known=known)
    except AuditError as error:
        complain(str(error))
        return EXIT_REFUSED
    print_line({"node": config.node_id, "lines": head.lines, "head": str(head)})
    return EXIT_DONE
