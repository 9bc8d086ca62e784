"""What the inside asks of the outside, as small protocols.

Law: protocols and the values they speak in; no implementation, no library.
Each port has a public fake in ``taskloom.testing`` and one conformance suite for fake and real.
"""
