"""One edit, from a file to a folder of files."""
