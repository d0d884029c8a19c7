"""The composition root: configuration in; storage, pool and coordinator out.

`prepare` loads neither optuna nor polars' threads; `search` and `single` load what they run.
"""
