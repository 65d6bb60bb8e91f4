"""Images: read as bytes, decoded to pixels, cut and coloured into batches."""
