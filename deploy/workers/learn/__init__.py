"""The learn worker."""
