"""Workflow engines behind ``taskloom.ports.engine``.

Law: an engine runs BPMN and knows nothing of events, tasks' rows or webhooks.
"""
