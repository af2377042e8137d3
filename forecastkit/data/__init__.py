"""A panel in good shape: tables in, regular series in contiguous arrays out."""
