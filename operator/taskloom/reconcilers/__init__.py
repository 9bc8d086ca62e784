"""Desired state into database state, one kind of resource a file.

Law: gather reads, ``plan`` is pure, apply writes.  A reconciler does not know
whether its objects came from a folder or from a cluster.
"""
