"""Many edits by several methods: made, scored, compared and reported."""
