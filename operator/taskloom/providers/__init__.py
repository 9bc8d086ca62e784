"""Sources of desired state: a folder of YAML today, Kubernetes next.

Law: a provider turns the outside into resources and carries statuses back; it decides nothing.
"""
