"""What a stack costs at AWS in a month: a model, a list of prices, and what a stack's settings mean in it."""
