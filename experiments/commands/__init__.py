"""The commands of `bitfront`, a few in each file. Heavy things are imported inside them, when they are needed."""
