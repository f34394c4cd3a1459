"""What a network is made of: the seven networks, their layers, the pyramid, the registry, parameters and operations."""
