"""One pydantic model for each kind of custom resource.

Law: the single source of ``crds/``, of the file provider's checks and of the resource reference.
A manifest is accepted or refused alike with and without a cluster.
No I/O.
"""
