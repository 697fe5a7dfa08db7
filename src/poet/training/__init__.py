"""Between calls and learning, off the call path: buffer, trainer."""
