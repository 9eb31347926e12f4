"""A champion measured again, and compared with what it was promoted on."""
