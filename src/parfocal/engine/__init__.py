"""Run steps: on one image, on a batch, with leases, records and outcomes."""
