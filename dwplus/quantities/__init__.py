"""What the numbers in a store's arrays are: extras with their units and codes, and which of radar's quantities."""
