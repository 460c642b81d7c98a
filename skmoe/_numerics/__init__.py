"""Linear algebra, designs, regressions, networks and trees, as functions of arrays."""
