"""Time training steps of Sequifier itself; `steps.py` runs this file in Sequifier's environment.

Usage: python reference_step.py TRAIN_YAML NUM_STEPS; prints CPU seconds per step, as JSON.
"""

import json
import sys
import time
from itertools import pairwise

import torch
from sequifier.config.train_config import load_train_config
from sequifier.train import TransformerModel
from torch.utils.data import DataLoader, IterableDataset


class Batches(IterableDataset):
    """Deals random batches as Sequifier's data sets do, and notes when each was asked for."""

    def __init__(self, config, num_batches):
        generator = torch.Generator().manual_seed(0)
        shape = (config.training_spec.batch_size, config.seq_length)
        self.batches = []
        for _ in range(num_batches):
            ids = torch.randint(
                1, config.n_classes["state"], (shape[0], shape[1] + 1), generator=generator
            )
            self.batches.append(({"state": ids[:, :-1]}, {"state": ids[:, 1:]}, None, None, None))
        self.asked = []

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            self.asked.append(time.process_time())
            yield batch


def main():
    torch.set_num_threads(1)
    config = load_train_config(sys.argv[1], {}, skip_metadata=True)
    model = TransformerModel(config)
    batches = Batches(config, int(sys.argv[2]))
    model._train_epoch(DataLoader(batches, batch_size=None), 1)  # noqa: SLF001 - what is timed
    print(json.dumps([b - a for a, b in pairwise(batches.asked)]))


if __name__ == "__main__":
    main()
