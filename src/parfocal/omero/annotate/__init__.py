"""Write annotation plans to an OMERO server, compare them with it, and take them back."""
