"""Repeat the run of a crate: its environment made, its inputs found, its work done again."""
