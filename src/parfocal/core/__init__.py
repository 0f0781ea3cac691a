"""Digests, block plans, publishing, leases, and what a step is."""
