"""What is told, going out: webhooks are signed, dialled and judged; sinks are produced to.

Law: at least once, each attempt recorded; one receiver's trouble is never another's.
"""
