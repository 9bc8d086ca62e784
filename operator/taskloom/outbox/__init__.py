"""The relay: takes jobs that a transaction left behind and carries them out.

Law: every job is idempotent by its key.
"""
