"""How good regions are: matched with the truth, counted, averaged."""
