"""Desired state from a folder of YAML, on one machine without a cluster.

Law: a file means what ``kubectl apply`` would make of it.
What cannot be read is said with file and line, and leaves the last good state standing.
"""
