"""How good an edit is: pure functions, one name a metric."""
