"""Screens over the views: help, palette, bookmarks, export."""
