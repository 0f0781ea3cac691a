"""A protocol-level OMERO server for tests: real Ice, the graph in memory, HQL interpreted."""
