"""A protocol-level OMERO server for tests: real Ice, the graph in memory, HQL interpreted.

Clients of OMERO use it unmodified. The model is read from omero-py's generated classes, what is
allowed follows the source of OMERO.server 5.6: groups and their permissions, sessions that are tied
to connections as Glacier2 ties them, saves that are merged as Hibernate merges them, and queries
with its fetch joins, pages and lost rows.

Known to differ from the real one:

- There are no scripts, no full-text search, no shares, no LDAP, no timeline and no import by Java.
- Administrators have all privileges; there are no light ones, and no groups that the world reads.
- A transaction holds the one lock of the database: calls that change something come one by one.
- Elements that are left out of a collection which is saved stay in it.
- Texts are sorted by code point, not by a language; nothing that SQL alone would refuse is refused,
  such as ordering distinct rows by what is not selected.
- A session that has timed out is noticed when it is next used, not by a sweep.
"""
