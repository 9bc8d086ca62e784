"""The command line.

Law: the only place that prints, and the only home of typer.
Exit codes: 0 it worked, 1 it failed or found something wrong, 2 it was called wrongly.
"""
