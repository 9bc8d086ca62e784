"""Taskloom weaves events into tasks.

An event starts the BPMN workflows mapped to it, workflows create tasks,
and everything that happens is told to subscribers by signed webhooks.
``docs/architecture.md`` draws the house; each package states its law in its docstring.
"""
