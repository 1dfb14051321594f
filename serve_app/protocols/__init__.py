"""What clients speak: each protocol is a module that translates, around one use case."""
