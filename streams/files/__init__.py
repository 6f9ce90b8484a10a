"""Log files, found, opened and read in order; rows whose clock runs ahead are refused."""
