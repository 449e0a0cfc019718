"""Devices, one a file. A new device is one file and one line here."""
