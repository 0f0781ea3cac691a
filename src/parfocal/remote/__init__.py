"""List and fetch images from web servers."""
