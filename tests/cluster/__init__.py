"""The files of docker/ on real engines: Docker, Compose and Slurm. `make cluster` runs it."""
