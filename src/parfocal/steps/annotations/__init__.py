"""What the steps that write to OMERO share."""
