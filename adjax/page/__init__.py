"""The page of a run: one file that opens anywhere, with nothing fetched."""
