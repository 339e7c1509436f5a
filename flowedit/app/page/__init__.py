"""The studio's page: what stands on it, and what happens when it is touched."""
