"""The processes that train one run together: what they divide, sum and agree on.

All of them hold the same weights and go through the same batches in the same loop. Each computes
its rows of a batch; the gradients are added up before every step, so that the step is the one that
a single process would make, and all make the same.
"""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.data.batching import Batch
from sequifier_hpo.training.device import find_device
from sequifier_hpo.training.memory import is_out_of_memory

LOOPBACK = "127.0.0.1"

T = TypeVar("T")


class PeerLostError(Exception):
    """Another process of the run is gone: whatever ended it is the cause, not this error."""


class Team:
    """The processes of a run, seen from one of them; this one trains alone."""

    rank = 0
    """Number of this process among `size`."""
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this process reports, saves and exports for all."""
        return self.rank == 0

    def share(self, batch: Batch, mask_BT: Tensor) -> tuple[Batch, Tensor]:
        """This process's rows of a batch and of its mask."""
        return batch, mask_BT

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; the same bits in all of them."""

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - a value, not an option
        """Whether the flag is set in at least one process."""
        return flag

    def from_first(self, value: T) -> T:
        """The first process's value, in all of them."""
        return value

    def gather(self, value: T) -> list[T]:
        """Every process's value, in the order of their ranks."""
        return [value]


class ConnectedTeam(Team):
    """One of several processes, connected through the process group of torch.distributed."""

    def __init__(self) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def share(self, batch: Batch, mask_BT: Tensor) -> tuple[Batch, Tensor]:
        """A slice of the rows; without a row left for it, the first one with nothing to learn."""
        num_rows = len(mask_BT)
        rows = slice(num_rows * self.rank // self.size, num_rows * (self.rank + 1) // self.size)
        mask = mask_BT[rows]
        if len(mask) == 0:
            # Computed all the same, so that every process has the same gradients to add up.
            rows, mask = slice(0, 1), torch.zeros_like(mask_BT[:1])
        inputs = {column: values[rows] for column, values in batch.inputs.items()}
        targets = {column: values[rows] for column, values in batch.targets.items()}
        return Batch(inputs, targets, batch.num_padding[rows]), mask

    @torch.no_grad()
    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """One message per number type, whatever the number of tensors."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            bucket = torch.cat([tensor.reshape(-1) for tensor in alike])
            with _naming_lost_peers():
                distributed.all_reduce(bucket)
            parts = torch.split(bucket, [tensor.numel() for tensor in alike])
            for tensor, part in zip(alike, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - a value, not an option
        """On the CPU even when the run is not: nothing waits for the device."""
        votes = torch.tensor(int(flag))
        with _naming_lost_peers():
            distributed.all_reduce(votes)
        return bool(votes)

    def from_first(self, value: T) -> T:
        """Sent as bytes, tensors included."""
        holder = [value]
        with _naming_lost_peers():
            distributed.broadcast_object_list(holder)
        return holder[0]

    def gather(self, value: T) -> list[T]:
        """Sent as bytes, tensors included."""
        values = [value] * self.size
        with _naming_lost_peers():
            distributed.all_gather_object(values, value)
        return values


def join_team(config: TrainConfig, rank: int, listener: socket.socket) -> Team:
    """Connect to the other processes of a run, all children of one that has touched no device.

    With device `cuda`, rank n takes the n-th GPU as its current device.

    Args:
        config: The run, with more than one process.
        rank: Number of this process.
        listener: A listening socket on the loopback interface, made before the processes were;
            the first process serves the others on it.

    Raises:
        EnvironmentFaultError: If there is no such device for this rank.
        PeerLostError: If the others do not connect.
    """
    spec = config.training_spec
    backend = "gloo"
    if spec.device == "cuda":
        torch.cuda.set_device(find_device(f"cuda:{rank}"))
        # What concerns the CPU (agreements, checkpoints) never waits for the GPU.
        backend = f"cpu:gloo,cuda:{spec.backend}"
    # By default gloo asks for the host's own name, which not every machine can resolve.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    port = listener.getsockname()[1]
    descriptor = listener.detach()
    if rank != 0:
        os.close(descriptor)
    with _naming_lost_peers():
        store = distributed.TCPStore(  # type: ignore[attr-defined] # its stub hides it
            LOOPBACK,
            port,
            spec.num_processes,
            is_master=rank == 0,
            master_listen_fd=descriptor if rank == 0 else None,
        )
        distributed.init_process_group(
            backend, store=store, rank=rank, world_size=spec.num_processes
        )
    return ConnectedTeam()


@contextmanager
def _naming_lost_peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise PeerLostError(
            f"the processes of the run lost contact with each other: {reason}"
        ) from error
