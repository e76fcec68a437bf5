"""How fast a training step is, beside the textbook loop and the machine's own peak."""
