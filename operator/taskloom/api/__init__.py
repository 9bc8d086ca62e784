"""The HTTP door: routes, authentication, problem+json.

Law: the only home of FastAPI.  Routes translate; the flow decides.
"""
