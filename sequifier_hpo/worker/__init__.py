"""The worker process: train configurations in, progress events and one outcome each out."""
