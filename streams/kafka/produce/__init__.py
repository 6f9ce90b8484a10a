"""Producers of impressions and clicks: events checked, encoded, sent and acknowledged."""
