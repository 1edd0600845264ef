"""Questions put to records; each is answered by a table."""
