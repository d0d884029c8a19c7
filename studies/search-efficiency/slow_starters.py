"""Write slow_starters.csv: synthetic runs, of which the best learn slowly.

Usage: python slow_starters.py [FILE]

Nothing was trained. A loss falls by an exponential law to its end. A small learning rate makes the
end better and the way there longer, so that the loss after the first epoch says nothing of the end.
"""

import csv
import math
import random
import sys
from itertools import product
from pathlib import Path

WIDTHS = [8, 16, 32, 64, 128]
RATES = [0.0003, 0.0006, 0.001, 0.003, 0.006, 0.01]
DROPOUTS = [0, 0.1, 0.3]
LAYERS = [1, 2]
BATCH_SIZES = [16, 64]
EPOCHS = range(1, 13)
START = 1.5
NOISE = 0.004


def main() -> None:
    """A row per run of the product of the lists."""
    rng = random.Random(5)
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".csv")
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        names = ["width", "learning_rate", "dropout", "num_layers", "batch_size"]
        writer.writerow([*names, "seconds_per_epoch", *(f"epoch_{epoch}" for epoch in EPOCHS)])
        for choice in product(*map(range, map(len, LISTS))):
            labels = [f"{i}: {values[i]}" for i, values in zip(choice, LISTS, strict=True)]
            seconds = 0.2 * (1 + choice[0]) * (1 + choice[3]) / (1 + choice[4])
            writer.writerow([*labels, f"{seconds:.3g}", *curve(choice, rng)])
    print(f"wrote {file}")


LISTS: list[list[float]] = [WIDTHS, RATES, DROPOUTS, LAYERS, BATCH_SIZES]


def curve(choice: tuple[int, ...], rng: random.Random) -> list[str]:
    """Losses by epoch of a run, given the indices of its choices."""
    width, rate, dropout, layers, batch_size = choice
    distances = 0.03 * abs(width - 3) + 0.015 * abs(rate - 1) + 0.02 * abs(dropout - 1)
    end = 0.7 + distances + 0.02 * layers + 0.006 * batch_size + rng.gauss(0, NOISE)
    speed = 0.3 + 0.06 * rate + rng.uniform(0, 0.08)
    losses = (end + (START - end) * math.exp(-speed * epoch) for epoch in EPOCHS)
    return [f"{loss + rng.gauss(0, NOISE):.5f}" for loss in losses]


if __name__ == "__main__":
    main()
