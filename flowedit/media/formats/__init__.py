"""The kinds of file that an edit is written as."""
