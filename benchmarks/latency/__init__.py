"""How fast: the engines beside one another, what fusion is worth, and whether anything got slower."""
