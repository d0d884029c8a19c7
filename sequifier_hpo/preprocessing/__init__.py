"""Preprocessing: raw tables of events become windows and metadata.

Nothing is exported here, so that looking at a stored split does not load the whole job.
"""
