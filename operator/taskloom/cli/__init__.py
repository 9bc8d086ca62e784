"""The command line.

Law: the only place that prints.
"""
