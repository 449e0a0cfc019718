"""Data sets, one a file. A new data set is one file and one line here."""
