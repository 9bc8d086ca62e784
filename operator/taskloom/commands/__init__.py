"""What an external task does when a workflow reaches its topic.

Law: a command changes the database only through the transaction it is given,
and is safe to run twice for one external task.
"""
