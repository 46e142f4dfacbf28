"""Which tools a request means, and which of the calls that a model writes are made."""
