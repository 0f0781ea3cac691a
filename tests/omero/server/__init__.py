"""A protocol-level OMERO server for tests: real Ice, the graph in memory, HQL interpreted.

It is spoken to by omero-py, ezomero and the ``omero`` command as they are. What differs from the
real one, beyond what raises "not implemented by the test server":

- Nothing is imported by Bio-Formats: pixels come through RawPixelsStore, or with
  `Control.seed`, which also copies original files into the managed repository.
- Scripts, full-text search, shares, LDAP, mails and disk usage are missing.
- Pixels of a large plane are kept as they are; lower resolutions leave pixels out. Tiles have to
  come in order, where the real server would write a damaged pyramid.
- Rendering is linear, in grey or RGB, of XY planes; lookup tables are noted, not drawn.
- Graph requests know images, containers, plates, annotations and ROIs; of a light path they move
  and delete less.
- A killed process loses what was not saved since its start, the bytes of files aside.
"""
