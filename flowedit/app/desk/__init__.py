"""What the page and the API call: the studio, and the pure functions that it is made of."""
