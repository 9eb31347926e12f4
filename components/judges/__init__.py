"""Who says whether a completion refused or complied, and what the verdict is worth."""
