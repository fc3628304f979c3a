"""``python -m tests.kills SEED KILLS [TREE]``: one storm, its outcome as JSON. Exit 1: a promise was broken."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from edge_agent import loop as agent_loop
from tests.kills.storm import ROOT, run_storm

outcome = agent_loop.run(run_storm(int(sys.argv[1]), int(sys.argv[2]), Path(*sys.argv[3:]) if sys.argv[3:] else ROOT))
print(json.dumps(asdict(outcome)))
sys.exit(1 if outcome.breaches else 0)
