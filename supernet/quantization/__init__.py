"""Number formats, observers, fake quantization and the rules of a bit-width policy."""
