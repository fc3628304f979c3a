"""The terminal's view of the demo: a line a step and a line every few seconds."""

import sys

from examples.demo.bench import Bench
from examples.demo.ledger import Ledger
from examples.demo.script import STEPS, Script

EVERY_S = 5.0


class Progress:
    """Prints plain lines; nothing is drawn over, so a log of it reads the same."""

    def __init__(self, ledger: Ledger, script: Script, bench: Bench) -> None:
        self._ledger = ledger
        self._script = script
        self._bench = bench
        self._last_s = -EVERY_S

    def step(self) -> None:
        """A step of the script has begun."""
        zh, en = STEPS[self._script.step - 1]
        self._say(f"step {self._script.step} of {len(STEPS)}: {en} · {zh}")

    def tick(self) -> None:
        """Say the tally when it is time."""
        now_s = self._ledger.now_s()
        if now_s - self._last_s < EVERY_S:
            return
        self._last_s = now_s
        tally = self._ledger.sum()
        links = "  ".join(f"{name} {knob.state}" for name, knob in self._bench.knobs.items())
        self._say(
            f"accepted {tally['accepted']} = delivered {tally['delivered']} + waiting {tally['waiting']} "
            f"+ expired {tally['expired']} + superseded {tally['superseded']} + lost {tally['lost']}; "
            f"doubled {tally['duplicated']} | {links}"
        )

    def _say(self, text: str) -> None:
        sys.stdout.write(f"{self._ledger.now_s():6.1f} s  {text}\n")
        sys.stdout.flush()
