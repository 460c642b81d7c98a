"""Tables as users bring them: columns, transformations, and what can be read."""
