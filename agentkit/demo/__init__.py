"""The demonstration: the whole path in a throw-away home, judged step by step."""
