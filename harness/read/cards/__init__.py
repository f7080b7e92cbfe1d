"""Model cards: their text, the claims of their front matter, the tables of averages and the scripts in them."""
