"""What the commands show: figures, pages, tables."""
