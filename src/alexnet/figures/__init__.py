"""What the paper shows: kernels, predictions, neighbours, and what a network looks at."""
