"""One module per command. Each only reads its arguments and calls what does the work, which it imports when called."""
