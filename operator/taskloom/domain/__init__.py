"""The nouns of the system and the pure decisions about them.

Law: standard library only, no I/O, no clock, no randomness.
What varies (now, an id, a random number) comes in as an argument.
"""
