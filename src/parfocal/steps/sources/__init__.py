"""How the kinds of sources are listed and fetched."""
