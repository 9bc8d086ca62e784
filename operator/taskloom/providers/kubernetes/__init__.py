"""Desired state from a cluster's resources, and statuses back to them.

Law: the watch only tells; one mirror holds what is declared; the same reconcilers as for a folder
decide.  Only here are kopf and the Kubernetes client known, and only the leader writes.
"""
