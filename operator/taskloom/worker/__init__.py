"""Runs external tasks: fetch by topic, run the command, complete or fail.

Law: outcomes are values; retries come before incidents.
"""
