"""How work is kept going: the claim loop, supervision, health, wake-ups.

Law: knows nothing of events, tasks or webhooks.
"""
