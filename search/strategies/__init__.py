"""Search strategies, one a file. A new strategy is one file and one line here."""
