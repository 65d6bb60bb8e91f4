"""The network, the table of its variants, and its weights on disk."""
