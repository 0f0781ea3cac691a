"""Prove that a conversion lost nothing."""
