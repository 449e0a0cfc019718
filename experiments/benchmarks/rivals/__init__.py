"""Against what people would use instead: rivals from the package index, on the same supernet, data and runtime."""
