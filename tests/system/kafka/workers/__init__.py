"""Worker processes that tests start, stop and kill."""
