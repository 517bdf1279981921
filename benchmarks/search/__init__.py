"""What the searches find: of networks, of what to prune, of decisions over RPC."""
