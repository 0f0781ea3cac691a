"""Images whose planes are files: what plates and sets of files have in common."""
