"""How long an edit takes, and what of it is ours: whole edits of random networks, and one checkout beside another."""
