"""Runs seen from their folders: a page with charts, and figures side by side. No torch; nothing is changed but the page
that is written."""
