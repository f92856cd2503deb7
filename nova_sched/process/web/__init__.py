"""The web server that the Placement API and the page run in: waitress, with a loop of its own."""
