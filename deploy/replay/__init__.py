"""The loop over log files."""
