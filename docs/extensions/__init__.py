"""What the site has beyond the pages: the table of contents, and references made from the code."""
