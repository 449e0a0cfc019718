"""Bundles: exported networks in a folder, with all that is known of them and the sums of every file."""
