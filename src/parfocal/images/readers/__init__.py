"""The readers, one module a format, loaded only when they are needed."""
