"""What may break, broken on purpose: the process, the connection, the slot, the server, the store."""
