"""The coordinator: decides what runs (reducer), performs it (loop) in worker processes (pool).

Nothing is exported here, so that asking for devices does not load the study's libraries.
"""
