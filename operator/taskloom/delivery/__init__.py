"""Webhooks going out: sign, dial, judge the answer, record the attempt.

Law: at least once; one endpoint's trouble is never another's.
"""
