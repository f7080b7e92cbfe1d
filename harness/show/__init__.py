"""What people and programs are shown: text, Markdown, CSV, JSON, LaTeX, HTML, and the formats of others."""
