"""The command line. ``arguments`` reads the words, ``commands`` ask the store, ``views`` shape, ``pages`` print."""
