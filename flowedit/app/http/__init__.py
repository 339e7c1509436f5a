"""The API over HTTP: its routes, and forms with files as they come from the wire."""
