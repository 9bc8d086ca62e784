"""The only place that knows all: builds the parts from the settings and runs them by role.

Law: wires, and decides nothing that a use case should.
"""

from taskloom.bootstrap.local import local_jwt_secret
from taskloom.bootstrap.parts import build
from taskloom.bootstrap.roles import services_of
from taskloom.bootstrap.serve import serve

__all__ = ["build", "local_jwt_secret", "serve", "services_of"]
