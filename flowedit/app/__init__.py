"""The studio: an API over jobs that are kept on disk, one at a time on the device; and the page on it."""
