"""Which task to label next: scores of uncertainty and diversity, and choosing by them."""
