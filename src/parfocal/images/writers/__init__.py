"""Write OME-Zarr and what is made of several."""
