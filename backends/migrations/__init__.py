"""Steps from one release's tables to the next one's, in order (alembic).

Processes of the release before go on beside newer ones while machines are upgraded one by one. So
a step only adds: tables, and columns that are nullable or have a server's default. What nobody
uses any more is removed a release later.
"""
