"""The join worker."""
