"""What a stack costs at AWS in a month: a model, a price list, and the mapping from a stack's settings to the model."""
