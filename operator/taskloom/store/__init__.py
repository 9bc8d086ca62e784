"""PostgreSQL: tables, transactions, queries.

Law: the only home of SQLAlchemy besides the embedded engine's records.
Rows go out as the domain's frozen dataclasses, mapped by one ``_row_to_x`` a noun;
driver errors are translated at this edge.
"""
