"""``python -m tests.powercut SEED CUTS``: the proof by itself, for a copy of the tree. Exit 1: a promise was broken."""

import json
import sys
from dataclasses import asdict

from tests.powercut.proof import prove

outcome = prove(int(sys.argv[1]), int(sys.argv[2]))
print(json.dumps(asdict(outcome)))
sys.exit(1 if outcome.breaches else 0)
