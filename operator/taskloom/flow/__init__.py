"""The use cases, one a file, each readable from top to bottom.

Law: a use case opens its transactions in sight, and whatever must leave the process
goes through a row of that same transaction.  No framework, no HTTP, no SQL here.
"""
