"""Figures, thumbnails and the HTML report. Import from the modules; nothing is loaded here."""
