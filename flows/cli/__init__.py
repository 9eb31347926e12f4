"""`safereact`, the command line."""
