"""What the commands do with a cluster's objects: look them up, say what is wrong, change them.

Law: reads and writes by the API server alone; what is said of the facts is decided purely.
"""
