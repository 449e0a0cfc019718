"""Stage 4b: what a layer costs on a device: tables that are measured, imported or modelled."""
