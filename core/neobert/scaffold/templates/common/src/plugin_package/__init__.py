"""plugin_summary"""
