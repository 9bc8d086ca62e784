"""Public fakes of the ports, and the conformance suites every adapter passes.

For the tests of this project and of those who write engines, commands and connectors for it.
"""
