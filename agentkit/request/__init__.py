"""What a request says, read from its words alone (pure, English)."""
