"""Editors that go through noise: up by inversion or at once, and down under the target prompt; one method a file."""
