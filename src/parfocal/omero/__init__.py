"""Speak to OMERO: log in, read images and their metadata, write results back.

omero-py is an extra, which nothing here imports before a connection is opened.
"""
