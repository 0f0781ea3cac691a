"""Learned models: one module a runtime, and the way of an image through any of them."""
