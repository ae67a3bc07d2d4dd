"""DataKitCI: stages from an input tree to an output tree, whose results are commits."""
