"""structlin."""
